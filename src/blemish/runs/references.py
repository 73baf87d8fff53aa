"""Samples of normal parts, to compare with: pictures, or views of normal recordings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from blemish.errors import ImageError, InputError, ReferencesError
from blemish.images import IMAGE_SUFFIXES, read_image
from blemish.modalities.find import modality_of, open_recording
from blemish.modalities.recording import Modality, Recording
from blemish.runs.sources import Item, Source, find
from blemish.types import Sample

MOST = 64
"""Views of normal recordings that are compared with."""


@dataclass(frozen=True, eq=False)
class Evenly:
    """Samples that lie evenly spread over more of them.

    Attributes:
        samples: those that were taken.
        of: how many there were.
    """

    samples: tuple[Sample, ...]
    of: int


def references(
    source: Source,
    class_name: str = "object",
    modality: Modality | None = None,
    options: Mapping[str, Any] | None = None,
) -> Evenly:
    """Read normal parts, in natural order.

    A broken one is an error, not a gap: with fewer references every verdict would be another.

    Args:
        source: files, folders or globs.
        class_name: what the parts are called.
        modality: of the parts that are inspected. Of recordings each view is a reference, at most
            `MOST` of all; a picture is one of any modality.
        options: how recordings become views.

    Raises:
        ReferencesError: a file cannot be read.
        InputError: the source does not exist, or holds nothing of the kind.
    """
    items = [_unless_picture(item) for item in find(source, modality)]
    other = next((item for item in items if item.modality not in (None, modality)), None)
    if other:
        raise ReferencesError(
            f"{other.path} is a {other.modality}, and what is inspected is a "
            f"{modality or 'picture'}. Compare with normal parts of the same kind, or name the "
            "kind of both by --modality."
        )
    if modality is None:
        samples = tuple(_picture(item, class_name) for item in items)
        return Evenly(samples, len(samples))
    return evenly(_views(items, class_name, options or {}), MOST)


def evenly(samples: Iterator[Sample], most: int) -> Evenly:
    """At most so many samples, and more than half of that where there are enough."""
    taken: list[Sample] = []
    step, count = 1, 0
    for sample in samples:
        if count % step == 0:
            if len(taken) == most:
                taken, step = taken[::2], 2 * step
            if count % step == 0:
                taken.append(sample)
        count += 1
    return Evenly(tuple(taken), count)


def comparable(
    items: Sequence[Item], options: Mapping[str, Any], *, strict: bool = True
) -> dict[str, Any]:
    """Options with which the plots of these series can be held against those of others.

    Lines alone, and for each channel that all of them have, their lowest and highest value as the
    limits of its panel; what the options say already stays.

    Raises:
        ReferencesError: a series cannot be read, unless broken ones are passed over.
    """
    found: list[Mapping[str, Sequence[float]]] = []
    for item in items:
        try:
            if item.modality == "time-series":
                found.append(_opened(item, "", options).about["limits"])
        except ReferencesError:
            if strict:
                raise
    limits = {
        name: [min(one[name][0] for one in found), max(one[name][1] for one in found)]
        for name in (found[0] if found else ())
        if all(name in one for one in found)
    }
    return {"bare": True, **({"limits": limits} if limits else {}), **options}


def among(items: Sequence[Item], class_name: str, options: Mapping[str, Any], most: int) -> Evenly:
    """Views of the recordings themselves, to be compared with each other; broken ones left out."""

    def readable() -> Iterator[Sample]:
        for item in items:
            with contextlib.suppress(ReferencesError):
                yield from _views([item], class_name, options)

    return evenly(readable(), most)


def _unless_picture(item: Item) -> Item:
    """A picture is a reference of a video's frame too, though `find` was told to find videos."""
    picture = item.path.suffix.lower() in IMAGE_SUFFIXES and item.path.is_file()
    if item.modality and picture and modality_of(item.path) is None:
        return Item(item.id, item.path)
    return item


def _picture(item: Item, class_name: str) -> Sample:
    try:
        return Sample(read_image(item.path), class_name, id=str(item.path))
    except ImageError as cause:
        raise _broken(cause) from cause


def _views(items: Sequence[Item], class_name: str, options: Mapping[str, Any]) -> Iterator[Sample]:
    for item in items:
        if item.modality is None:
            yield _picture(item, class_name)
            continue
        recording = _opened(item, class_name, options)
        try:
            for sample in recording.samples():
                yield Sample(
                    sample.images,
                    class_name,
                    domain=sample.domain,
                    id=f"{item.path}, {sample.id}",
                )
        except InputError as cause:
            raise _broken(cause) from cause


def _opened(item: Item, class_name: str, options: Mapping[str, Any]) -> Recording:
    assert item.modality
    try:
        return open_recording(item.path, item.modality, options, id=item.id, class_name=class_name)
    except InputError as cause:
        raise _broken(cause) from cause


def _broken(cause: InputError) -> ReferencesError:
    return ReferencesError(
        f"A reference cannot be used: {cause} Replace it or take it out, so that it is "
        "plain which normal parts were compared with."
    )
