"""Prompts for both states of a part, made by rule: CLIP-AC, WinCLIP, AnoVL, and ALFA's template.

Words and their sources are data (contrast.json). In it, [o] is the class, and [c] in a template a
state with the class in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Any

from blemish.classes import named


@dataclass(frozen=True)
class Prompts:
    """Prompts for the two states of a part; all distinct, in order."""

    normal: tuple[str, ...]
    abnormal: tuple[str, ...]


def called(class_name: str) -> str:
    """A class as prompts speak of it: underscores are spaces, and what has no name is an object.

    >>> called("metal_nut"), called("")
    ('metal nut', 'object')
    """
    return " ".join(class_name.replace("_", " ").split()) or "object"


def key(class_name: str) -> str:
    """A class as it is looked up: case, underscores, hyphens and white space make no difference.

    >>> key("Metal-Nut") == key("metal_nut") == key(" metal  nut")
    True
    """
    return called(class_name.replace("-", " ")).casefold()


def clip_ac(class_name: str) -> Prompts:
    """The one prompt a side of CLIP-AC.

    >>> clip_ac("bottle")
    Prompts(normal=('a photo of a normal bottle',), abnormal=('a photo of an abnormal bottle',))
    """
    return _composed("clip-ac", class_name, _data()["clip-ac"]["templates"])


def winclip(class_name: str) -> Prompts:
    """The compositional prompt ensemble: 154 normal and 110 abnormal prompts.

    They stand as printed: "a photo of a unblemished bottle." is one of them.

    >>> winclip("bottle").abnormal[0]
    'a cropped photo of the damaged bottle.'
    """
    return _composed("winclip", class_name, _data()["winclip"]["templates"])


def anovl(class_name: str) -> Prompts:
    """The domain-aware state prompts: 462 a side. Textures have domains of their own.

    >>> anovl("hazelnut").normal[12], anovl("wood").abnormal[-1]
    ('an industrial photo of a normal hazelnut', 'a surface picture of a wood with damage for \
anomaly detection')
    """
    data = _data()["anovl"]
    kind = "textures" if key(class_name) in data["textures"] else "objects"
    templates = [
        _of_domain(template.rstrip("."), domain)
        for domain in data["domains"][kind]
        for template in _data()["winclip"]["templates"]
    ]
    return _composed("anovl", class_name, templates)


def alfa(class_name: str) -> Prompts:
    """ALFA's template with the words written for this project: 72 prompts a side.

    >>> alfa("hazelnut").normal[:2]
    ('A close-up image of a normal hazelnut', 'A close-up image of a normal hazelnut with no \
visible defect')
    """
    data, name = _data()["alfa"], called(class_name)
    counted = bool(named(name).article)  # "an image of damaged wood", "of damaged hinges"

    def side(label: str) -> tuple[str, ...]:
        words = product(data["domains"], data[label]["states"], data[label]["details"])
        return tuple(
            _capital(
                f"{_with_article(domain)} image of {_with_article(state) if counted else state} "
                f"{name}{details and f' with {details}'}"
            )
            for domain, state, details in words
        )

    return Prompts(side("normal"), side("abnormal"))


@cache
def digest() -> str:
    """The sha256 of all words that the prompts are made of; another whenever a prompt changes."""
    words = (files("blemish.prompts") / "contrast.json", files("blemish") / "classes.json")
    return hashlib.sha256(b"".join(file.read_bytes() for file in words)).hexdigest()


@cache
def _data() -> dict[str, Any]:
    return dict(json.loads(files("blemish.prompts").joinpath("contrast.json").read_text("utf-8")))


def _composed(ensemble: str, class_name: str, templates: Sequence[str]) -> Prompts:
    """Every state in every template."""
    name = called(class_name)

    def side(label: str) -> tuple[str, ...]:
        states = _data()[ensemble][label]
        return tuple(
            template.replace("[c]", state).replace("[o]", name)
            for state, template in product(states, templates)
        )

    return Prompts(side("normal"), side("abnormal"))


def _of_domain(template: str, domain: str) -> str:
    """A template with a domain in place of "photo", and the article that goes with it."""
    if template.startswith("a photo"):
        return template.replace("a photo", _with_article(domain), 1)
    return template.replace("photo", domain, 1)


def _with_article(words: str) -> str:
    """By the first letter, which tells all words of the data rightly."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
