"""What a person says of the parts beside their pixels, and the one place where samples are made."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from blemish.errors import InputError, OptionError
from blemish.runs.sources import Item
from blemish.types import Domain, Example, Image, Sample

EVERY = ""
"""The id under which `Context.auxiliary` holds what is known of every item."""
Readings = Mapping[str, str]
"""A name to a value with its unit, such as "torque" to "4.1 Nm"."""
_UNIT = re.compile(r"(.*\S)\s*[\[(]\s*([^\])]+?)\s*[\])]\s*")


@dataclass(frozen=True)
class Context:
    """What is known of the items of a run.

    Attributes:
        class_name: what the parts are called.
        domain: where pictures come from; recordings know theirs.
        standards: what normal looks like, in words.
        auxiliary: readings by the id of an item, those under `EVERY` of each item.
        options: how recordings become views.
    """

    class_name: str = "object"
    domain: Domain = "industrial"
    standards: str = ""
    auxiliary: Mapping[str, Readings] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    def sample(self, image: Image, item_id: str) -> Sample:
        """The sample of a picture (H, W, 3) uint8 RGB."""
        plain = Sample(image, self.class_name, domain=self.domain, id=item_id)
        return self.completed(plain, item_id)

    def completed(self, sample: Sample, item_id: str) -> Sample:
        """A sample of a recording with what is known of that recording."""
        return replace(sample, standards=self.standards, auxiliary=self._readings(item_id))

    def told(self, item: Item) -> dict[str, Any]:
        """What the result of an item depends on beside its content and the detector."""
        known = {
            "class_name": self.class_name,
            "standards": self.standards,
            "auxiliary": self._readings(item.id),
            "modality": item.modality,
            "options": dict(self.options) if item.modality else {},
        }
        return {name: value for name, value in known.items() if value}

    def _readings(self, item_id: str) -> dict[str, str]:
        return {**self.auxiliary.get(EVERY, {}), **self.auxiliary.get(item_id, {})}


def read_standards(given: str) -> str:
    """Standards as they are, or those in the text file that they name.

    Raises:
        OptionError: there are none.
        InputError: the file cannot be read as text.
    """
    text = given
    if len(given.split()) == 1:  # standards are more than a word
        text = _text(Path(given.strip()), "standards")
    elif len(given) < 256 and "\n" not in given and Path(given).is_file():
        text = _text(Path(given), "standards")
    if not any(sign.isalpha() for sign in text):
        raise OptionError(
            f"The standards are empty ({given!r} came). Give words, or a text file, that say what "
            "a normal part looks like, such as 'A whole nut without cracks.'"
        )
    return text.strip()


def read_auxiliary(path: Path) -> dict[str, dict[str, str]]:
    """What else is known of the parts, such as readings of sensors.

    Args:
        path: a JSON object of names and texts such as {"torque": "4.1 Nm"}, for every part; or a
            CSV file whose first column is the part's id and whose titles have the units, such as
            "torque [Nm]". Empty cells are left out.

    Returns:
        Readings by id; under `EVERY` those of every part.

    Raises:
        InputError: the file cannot be read as such.
    """
    text = _text(path, "readings")
    if text.lstrip().startswith("{"):
        return {EVERY: _object(path, text)}
    return _table(path, text)


def read_feedback(path: Path) -> list[Example]:
    """Earlier findings that a person judged.

    Args:
        path: JSON Lines with "class" (what the part is), "finding" (what was said of it) and
            "confirmed" (whether that was a defect).

    Returns:
        Confirmed findings as anomalous parts, rejected ones as normal parts, whose `kind` is the
        finding; the picture is not known, and is one black pixel.

    Raises:
        InputError: the file cannot be read as such.
    """
    pixel = np.zeros((1, 1, 3), np.uint8)
    examples = []
    for number, line in enumerate(_text(path, "findings").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = None
        match entry:
            case {"class": str(name), "finding": str(finding), "confirmed": bool(confirmed)} if (
                name.strip() and finding.strip() and len(entry) == 3
            ):
                sample = Sample(pixel, name.strip(), id=f"{path.name}, line {number}")
                kind = " ".join(finding.split())
                examples.append(Example(sample, "anomalous" if confirmed else "normal", kind=kind))
            case _:
                raise InputError(
                    f"Line {number} of {path} is {line.strip()[:80]!r}; expected "
                    '{"class": "nut", "finding": "a scratch at the left", "confirmed": false}.'
                )
    if not examples:
        raise InputError(f"{path} holds no finding. Leave it out, or write one a line.")
    return examples


def _text(path: Path, what: str) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise InputError(f"The file of {what} {path} cannot be read: {reason}.") from error
    if "\0" in text:
        raise InputError(f"The file of {what} {path} cannot be read: it is no text.")
    return text


def _object(path: Path, text: str) -> dict[str, str]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path} is no JSON object that can be read: {error}.") from error
    for name, value in values.items():
        if not (isinstance(value, str) and value.strip() and name.strip()):
            raise InputError(
                f"{path} gives {name!r} as {json.dumps(value)}; expected a text with the unit, "
                'such as {"torque": "4.1 Nm"}.'
            )
    if not values:
        raise InputError(f"{path} names no reading. Leave it out, or write some into it.")
    return {name.strip(): value.strip() for name, value in values.items()}


def _table(path: Path, text: str) -> dict[str, dict[str, str]]:
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=separator) if any(row)]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise InputError(
            f"{path} is neither a JSON object nor a table with ids. Expected "
            '{"torque": "4.1 Nm"}, or CSV with the titles "id,torque [Nm]" and a line for each '
            "part."
        )
    titles = [_title(title) for title in rows[0][1:]]
    found: dict[str, dict[str, str]] = {}
    for row in rows[1:]:
        item_id = row[0].strip()
        if len(row) != len(rows[0]) or not item_id or item_id in found:
            why = "comes twice" if item_id in found else f"has {len(row)} cells"
            raise InputError(
                f"{path}: the line of {item_id or 'a part without an id'} {why}; expected one "
                f"line for each part, with {len(rows[0])} cells."
            )
        found[item_id] = _values(titles, row[1:])
    return found


def _title(title: str) -> tuple[str, str]:
    """Name and unit of a column."""
    match = _UNIT.fullmatch(title)
    return (match[1], match[2]) if match else (title.strip(), "")


def _values(titles: Sequence[tuple[str, str]], cells: Sequence[str]) -> dict[str, str]:
    pairs = zip(titles, cells, strict=True)
    return {name: f"{cell.strip()} {unit}".strip() for (name, unit), cell in pairs if cell.strip()}
