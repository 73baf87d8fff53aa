"""`blemish figure`: a grid of pictures, their truth, and one map a method.

Which pictures: of each category or defect the first anomalous ones by id, never the prettiest.
Which colours: the calibrated score from 0 to 1, the same in every picture, since a scale of each
picture's own paints good parts red. A method without a calibration (maps of other programs) has
one scale for all its pictures, from the lowest to the highest raw value shown, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blemish.benchmark import reader
from blemish.benchmark.reader import Ran
from blemish.benchmark.table import shots_order, shots_words
from blemish.errors import ImageError, InputError, OptionError
from blemish.images import read_mask
from blemish.runs.folder import replace_file, writing
from blemish.runs.report import original
from blemish.types import AnomalyMap, Image, Mask

Key = tuple[str, str]
"""The id and the content of a picture."""


@dataclass(frozen=True, eq=False)
class Column:
    """A method.

    Attributes:
        title: its name, and shots on another line.
        runs: of its pictures.
    """

    title: str
    runs: Mapping[Key, Ran]

    def heat(self, key: Key) -> tuple[AnomalyMap | None, bool]:
        """The map of a picture, (h, w) float32, and whether it is calibrated."""
        ran = self.runs[key]
        raw = ran.heat(key[0])
        point = ran.calibration
        if raw is None or point is None:
            return raw, False
        return point.score(_shrunk(raw)), True


@dataclass(frozen=True, eq=False)
class Line:
    """A picture of the grid.

    Attributes:
        title: category and defect.
        image: (H, W, 3) uint8 RGB.
        truth: (H, W) bool; None where it is not known.
        why: no truth, in words.
        maps: of each column: (h, w) float32, or None where none was kept.
        calibrated: of each column, whether its map is.
    """

    title: str
    image: Image
    truth: Mask | None
    why: str
    maps: tuple[AnomalyMap | None, ...]
    calibrated: tuple[bool, ...]


def figure(
    runs: Sequence[Path],
    out: Path,
    *,
    per: Literal["category", "kind"] = "category",
    count: int = 1,
    images: Sequence[str] = (),
) -> tuple[str, ...]:
    """Draw the grid.

    Args:
        runs: run folders or benchmarks; of a benchmark, each method and number of shots is a
            column, with its first seed.
        out: the PNG to write: 2,000 pixels wide, 17 cm at 300 dots an inch.
        per: what a row is for.
        count: pictures of each.
        images: ids to draw in place of that choice.

    Returns:
        The ids of the pictures, from top to bottom.

    Raises:
        InputError: the runs have no such picture in common.
        ImageError: a picture is not there any more, or has changed.
        OutputError: the file cannot be written.
    """
    from blemish.benchmark import grid

    if count < 1:
        raise OptionError(f"--count {count} came; expected at least 1 picture.")
    columns = [column for path in runs for column in _columns(path)]
    columns = _told_apart(columns)
    common = set.intersection(*({*column.runs} for column in columns))
    if not common:
        raise InputError(
            f"{', '.join(map(str, runs))} have no picture in common: none has the same id and "
            "content in all. Run the methods over the same pictures."
        )
    first = columns[0].runs
    chosen = _asked(images, common) if images else _chosen(first, sorted(common), per, count)
    rule = (
        "Rows: the pictures that were asked for."
        if images
        else f"Rows: the first {f'{count} ' * (count > 1)}anomalous "
        f"picture{'s' * (count > 1)} by id of each {'category' if per == 'category' else 'defect'}."
    )
    lines = [_line(key, columns) for key in chosen]
    drawn = grid.draw([column.title for column in columns], lines, rule)
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        replace_file(out, drawn)
    return tuple(name for name, _ in chosen)


def _columns(path: Path) -> Iterator[Column]:
    """The methods of a folder."""
    found: dict[tuple[str, float, str], dict[str, Ran]] = {}
    for ran in sorted(reader.read(path), key=lambda one: one.cell.get("seed", 0)):
        shots = ran.cell.get("shots", 0)
        about = f"{ran.method}\n{shots_words(shots)}" if ran.cell else ran.method
        place = f"{ran.cell.get('data', '')}/{ran.category}"
        found.setdefault((ran.method, shots_order(shots), about), {}).setdefault(place, ran)
    for (_, _, about), runs in sorted(found.items()):
        pictures = {
            (name, row["sha256"]): ran for ran in runs.values() for name, row in ran.rows.items()
        }
        yield Column(about, pictures)


def _told_apart(columns: Sequence[Column]) -> list[Column]:
    """Columns of the same title with a number."""
    titles = [column.title for column in columns]
    return [
        Column(f"{column.title} ({titles[: place + 1].count(column.title)})", column.runs)
        if titles.count(column.title) > 1
        else column
        for place, column in enumerate(columns)
    ]


def _asked(images: Sequence[str], common: set[Key]) -> list[Key]:
    known = {name: (name, content) for name, content in common}
    absent = [name for name in images if name not in known]
    if absent:
        raise InputError(
            f"No picture {absent[0]} is in all runs; there are {len(common)}, such as {min(known)}."
        )
    return [known[name] for name in images]


def _chosen(
    runs: Mapping[Key, Ran], common: Sequence[Key], per: Literal["category", "kind"], count: int
) -> list[Key]:
    """The first anomalous pictures by id of each category or defect."""
    groups: dict[tuple[str, ...], list[Key]] = {}
    for key in common:
        ran = runs[key]
        if ran.label(key[0]) == "anomalous":
            place = (ran.category, _kind(ran, key[0])) if per == "kind" else (ran.category,)
            groups.setdefault(place, []).append(key)
    if not groups:
        raise InputError(
            "No picture in common is labelled anomalous, so none can be chosen. Name pictures with "
            "--images, or give runs of blemish bench, which knows the truth."
        )
    return [key for place in sorted(groups) for key in groups[place][:count]]


def _kind(ran: Ran, name: str) -> str:
    return str(ran.truth.get(name, {}).get("kind", ""))


def _line(key: Key, columns: Sequence[Column]) -> Line:
    ran = columns[0].runs[key]
    image = original(ran.rows[key[0]])
    truth, why = _truth(ran, key[0], image)
    heats = [column.heat(key) for column in columns]
    words = [ran.category, _kind(ran, key[0]) or ran.label(key[0]) or ""]
    title = "\n".join(word.replace("_", " ") for word in words if word) or key[0]
    return Line(
        title, image, truth, why, tuple(heat for heat, _ in heats), tuple(own for _, own in heats)
    )


def _truth(ran: Ran, name: str, image: Image) -> tuple[Mask | None, str]:
    """The mask of a picture, (H, W) bool, or why there is none."""
    known: Mapping[str, Any] = ran.truth.get(name, {})
    if ran.label(name) == "normal":
        return np.zeros(image.shape[:2], np.bool_), ""
    if not known.get("masks"):
        return None, "no mask"
    total = np.zeros(image.shape[:2], np.bool_)
    for path in known["masks"]:
        try:
            drawn = read_mask(path)
        except ImageError:
            return None, "mask not readable"
        if drawn.shape != total.shape:
            return None, "mask of another size"
        total |= drawn > 0
    return total, ""


def _shrunk(raw: AnomalyMap) -> AnomalyMap:
    """A map of at most 640 pixels a side: more are not seen, and each is calibrated."""
    import cv2

    scale = 640 / max(raw.shape)
    if scale >= 1:
        return raw
    height, width = (max(1, round(side * scale)) for side in raw.shape)
    return np.asarray(cv2.resize(raw, (width, height), interpolation=cv2.INTER_AREA), np.float32)
