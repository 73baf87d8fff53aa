"""What prompts and reports call a part: name, article, plural and a description, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Noun:
    """How a category is spoken of.

    Attributes:
        name: in prompts, such as "metal nut"; not the folder's "metal_nut".
        article: "a", "an", or "" for what is not counted ("a" where unknown).
        plural: such as "metal nuts".
        description: what a good one looks like, one sentence; "" where unknown.
    """

    name: str
    article: str
    plural: str
    description: str = ""

    @property
    def with_article(self) -> str:
        """Such as "a metal nut".

        >>> Noun("tile", "a", "tiles").with_article
        'a tile'
        """
        return f"{self.article} {self.name}".strip()


@cache
def _table() -> dict[str, dict[str, dict[str, str]]]:
    text = files("blemish").joinpath("classes.json").read_text("utf-8")
    return dict(json.loads(text))


def noun(dataset: str, category: str) -> Noun:
    """How prompts speak of a category; a category that is not in the table by its folder's name.

    >>> noun("mvtec-ad", "metal_nut").with_article
    'a metal nut'
    >>> noun("", "left_hinge")
    Noun(name='left hinge', article='a', plural='left hinges', description='')
    """
    known = _table().get(dataset, {}).get(category)
    if known:
        return Noun(**known)
    name = category.replace("_", " ").replace("-", " ").strip() or "object"
    vowel = name[0].lower() in "aeio"  # "u" is as often a consonant: a unit, a USB plug
    return Noun(name, "an" if vowel else "a", _plural(name))


def named(name: str) -> Noun:
    """The noun that goes by a name in prompts, whichever set it is from; case does not count.

    A name that is a plural already has no article.

    >>> named("bag of screws").plural
    'bags of screws'
    >>> named("snap-on box").plural
    'snap-on boxes'
    >>> named("hinges").with_article
    'hinges'
    """
    known, wanted = [row for rows in _table().values() for row in rows.values()], name.casefold()
    for row in known:
        if row["name"].casefold() == wanted:
            return Noun(**row)
    several = any(row["plural"].casefold() == wanted for row in known)
    plural = name if several else _plural(name)
    article = "" if plural == name else noun("", name).article
    return Noun(name, article, plural)


def _plural(name: str) -> str:
    """By the rules of spelling; a word that ends in a single s is taken for a plural."""
    if name.endswith(("ss", "x", "z", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2:-1] not in tuple("aeiou"):
        return f"{name[:-1]}ies"
    return name if name.lower().endswith("s") else f"{name}s"
