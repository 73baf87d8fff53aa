"""Prompts that a language model writes for a class (ALFA, arXiv 2404.09654), and their store.

Each class is one readable JSON file, which a person may edit. A bank for known classes ships as
data (bank/*.json and, for IAD-GPT, bank/apg/*.json), written for this project; wordings are data
too (generated.json). `apg` asks for those of IAD-GPT; they are kept and found here.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from pathlib import Path

from blemish.errors import OptionError, nearest
from blemish.prompts._asked import Query, ask
from blemish.prompts._stored import Generated, Style, digest, parsed, read, sha256, stored, write
from blemish.prompts.contrast import called, key
from blemish.types import ChatModel

__all__ = [
    "Generated", "Query", "Style", "bank", "banked", "digest", "edited", "find", "generate",
    "is_edited", "kept", "kept_at", "read", "unknown", "write",
]  # fmt: skip


def bank(class_name: str, style: Style = "alfa") -> Generated | None:
    """The prompts that ship for a class; None where there are none.

    Args:
        class_name: as prompts speak of it or as its folder is called: "metal nut", "metal_nut",
            "Metal-Nut".
        style: see `Generated`.
    """
    return _bank().get((key(class_name), style))


def banked(style: Style = "alfa") -> tuple[Generated, ...]:
    """All prompts of a style that ship, by class."""
    unique = {one.class_name: one for (_, its), one in _bank().items() if its == style}
    return tuple(unique[name] for name in sorted(unique))


@cache
def _bank() -> dict[tuple[str, Style], Generated]:
    folder = files("blemish.prompts").joinpath("bank")
    known: dict[tuple[str, Style], Generated] = {}
    for file in [*folder.iterdir(), *folder.joinpath("apg").iterdir()]:
        if file.name.endswith(".json"):
            one = parsed(file.read_text("utf-8"), file.name)
            made = one.generated()
            known |= dict.fromkeys([(name, made.style) for name in _keys(made)], made)
    return known


def unknown(class_name: str, style: Style = "alfa") -> str:
    """What to say of a class that is not in the bank: which one may be meant, and all of them.

    >>> "Did you mean 'polycrystalline solar cell'?" in unknown("solar cells")
    True
    """
    known = nearest(key(class_name), [one.class_name for one in banked(style)])
    return f"The bank has no prompts for the class '{called(class_name)}'. {known}"


def find(path: str | Path, class_name: str, style: Style = "alfa") -> Generated:
    """The prompts of a class and style, from a file or from a folder with one file a class.

    Args:
        path: of the file, or of the folder with *.json.
        class_name: the file's class or one of its names.
        style: see `Generated`.

    Raises:
        OptionError: nothing is there, or it has no prompts of the style for this class, or two
            files of the folder have; the message says what to do.
        InputError: a file is damaged.
    """
    path, name = Path(path).expanduser(), called(class_name)
    if not os.path.exists(path):  # unlike Path.exists, False for whatever is no path at all
        raise OptionError(
            f"{path}, named for prompts, is no file and no folder. `{_made(name, style)} --out "
            f"{path}` writes such a file."
        )
    folder = path.is_dir()
    found = {file: read(file) for file in (sorted(path.glob("*.json")) if folder else [path])}
    own = {file: one for file, one in found.items() if key(class_name) in _keys(one)}
    fit = [file for file, one in own.items() if one.style == style]
    if len(fit) > 1:
        raise OptionError(
            f"{fit[0]} and {fit[1]} both have prompts for the class '{name}'. Name one of them in "
            "place of the folder, or take the other out of it."
        )
    if fit:
        return own[fit[0]]
    for file, one in own.items():
        raise OptionError(
            f"The prompts {file} are of style '{one.style}'; expected '{style}'. Name another "
            f"file, or have one written: `{_made(name, style)}`."
        )
    classes = {one.class_name for one in found.values()}
    raise OptionError(
        _of_others(path, name, classes, style) if folder else _of_another(path, name, *classes)
    )


def _made(name: str, style: Style) -> str:
    return (
        f"blemish prompts make{' --style apg' * (style == 'apg')} --class '{name}' --llm KIND:NAME"
    )


def _of_others(folder: Path, name: str, classes: Collection[str], style: Style) -> str:
    return (
        f"{folder} has no prompts for the class '{name}'. {nearest(key(name), classes)} Name one "
        "of these classes (on the command line: --class), or have a language model write prompts "
        f"into that folder: `{_made(name, style)} --out FILE`."
    )


def _of_another(file: Path, name: str, theirs: str) -> str:
    return (
        f"{file} has prompts for the class '{theirs}', not for '{name}'. Name that class (on the "
        f'command line: --class \'{theirs}\'), or change "class" in the file to "{name}".'
    )


def _keys(prompts: Generated) -> set[str]:
    return {key(name) for name in (prompts.class_name, *prompts.names)}


def generate(class_name: str, model: ChatModel, *, consistent: bool = True) -> Generated:
    """Ask a language model for the prompts of a class.

    The document's questions come first. Where an answer holds no description, it is asked at most
    twice more; the descriptors may stay empty.

    Args:
        class_name: such as "metal nut".
        model: any chat model; it gets no picture.
        consistent: ask for prompts with the same beginning, and give it to those without.

    Raises:
        ChatError: the model gave no answer, or none with a description for one of the sides.
    """
    name = called(class_name)
    normal, abnormal, descriptors, queries = ask(model, name, consistent)
    return Generated(
        class_name=name,
        style="alfa",
        normal=normal,
        abnormal=abnormal,
        descriptors=descriptors,
        made_by=model.name,
        fingerprint=model.fingerprint,
        consistent=consistent,
        queries=queries,
    )


def kept(class_name: str, model: ChatModel, *, consistent: bool = True, folder: Path) -> Generated:
    """The prompts of a class as they are kept in a folder; made and kept where they are not there.

    Raises:
        ChatError: see `generate`.
        InputError: the kept file is damaged.
        OutputError: it cannot be written.
    """
    path = kept_at(class_name, model.fingerprint, consistent=consistent, folder=folder)
    if not path.exists():
        made = generate(class_name, model, consistent=consistent)
        if not path.exists():  # a run beside this one may have kept its own meanwhile
            write(made, path)
    return read(path)


def kept_at(
    class_name: str,
    fingerprint: str,
    *,
    consistent: bool = True,
    folder: Path,
    style: Style = "alfa",
) -> Path:
    """Where the prompts that a model of this fingerprint writes for a class are kept."""
    name = called(class_name).casefold()
    plain = re.sub(r"[^\w-]+", "_", name)[:60]
    if plain != name.replace(" ", "_"):
        plain += f"-{sha256(name)[:4]}"
    return folder / f"{plain}-{style}-{_code(fingerprint, consistent)}.json"


def _code(fingerprint: str, consistent: bool) -> str:
    return sha256(json.dumps([fingerprint, consistent]))[:8]


def edited(folder: Path, model_fingerprint: str) -> list[str]:
    """The sha256 of the prompts in each kept file of a model that `is_edited`.

    Raises:
        InputError: a kept file of this model is damaged.
    """
    codes = {_code(model_fingerprint, consistent) for consistent in (True, False)}
    found = (stored(path) for code in codes for path in folder.glob(f"*-alfa-{code}.json"))
    return sorted(now for one in found if (now := digest(one.generated())) != one.sha256)


def is_edited(path: Path) -> bool:
    """Whether a person changed the prompts of a file or wrote them, or they replaced others.

    Raises:
        InputError: the file is damaged.
    """
    found = stored(path)
    return found.sha256 != digest(found.generated())
