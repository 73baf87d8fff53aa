"""What GPT-4V-AD shows to a language model: pictures with numbered regions, and what goes along."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from blemish.detectors import _saved
from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.errors import ReferencesError
from blemish.images import resize
from blemish.places import positions
from blemish.prompts import gpt4v_ad as prompts
from blemish.regions import division as divide
from blemish.regions import marks
from blemish.regions.division import SIDE, Division, Segmenter
from blemish.regions.preprocessing import preprocessed
from blemish.types import AnomalyMap, Detector, Example, Image, Inspection, Message, Sample


@dataclass(frozen=True, eq=False)
class Shown:
    """A picture that is shown for comparison.

    Attributes:
        picture: (768, 768, 3) uint8 RGB.
        label: "normal" or "anomalous".
        places: where its anomaly lies, in words; empty where that is not known.
        id: of the sample.
        sha256: of the sample's pixels.
        class_name: of the sample.
    """

    picture: Image
    label: Literal["normal", "anomalous"]
    places: str
    id: str
    sha256: str
    class_name: str


def shown(references: Sequence[Sample | Example]) -> list[Shown]:
    """What there is to show, in the order given; a picture that comes twice is shown once.

    The kind of an anomaly is not told: it often is the name of a folder.
    """
    found: dict[str, Shown] = {}
    for reference in references:
        example = reference if isinstance(reference, Example) else Example(reference, "normal")
        content = _saved.content(example.sample)
        places = ", ".join(positions(example.mask)) if example.mask is not None else ""
        picture = divide.working(example.sample.image)
        about = (example.sample.id, content, example.sample.class_name)
        one = Shown(picture, example.label, places, *about)
        found.setdefault(content, one)
    return list(found.values())


def chosen_of(
    known: Sequence[Shown], label: Literal["normal", "anomalous"], count: int
) -> list[Shown]:
    """The first pictures of a label. Raises ReferencesError where there are too few."""
    some = [one for one in known if one.label == label]
    if len(some) < count:
        raise ReferencesError(
            f"{count} {label} pictures are to be shown, and {len(some)} came. Give more to fit or "
            "with the sample, or ask for fewer (options references and examples)."
        )
    return some[:count]


@dataclass(frozen=True, eq=False)
class View:
    """One view of a sample, as it is asked about.

    Attributes:
        message: what is asked; None where the view has no region to ask about.
        size: (height, width) of the view in pixels.
        asked: (height, width) of the picture that is judged, as it is sent.
        division: its regions; None where boxes are asked for.
        seconds: that it took to make.
    """

    message: Message | None
    size: tuple[int, int]
    asked: tuple[int, int]
    division: Division | None
    seconds: float = 0.0

    @property
    def regions(self) -> tuple[int, ...]:
        """The numbers of the regions that there are."""
        return self.division.numbers if self.division else ()


def view_of(
    sample: Sample,
    number: int,
    options: GPT4VADOptions,
    references: Sequence[Shown],
    *,
    segmenter: Segmenter | None = None,
    source: Detector | None = None,
    found: Inspection | None = None,
) -> View:
    """Divide and mark one view, and put the question together.

    Args:
        sample: the part.
        number: of the view.
        options: how to divide and to ask.
        references: what is shown for comparison, normal ones first.
        segmenter: for regions "sam".
        source: the other detector, for a heat map.
        found: what it found on the sample.
    """
    image = sample.images[number]
    size = (image.shape[0], image.shape[1])
    division, picture = None, image
    if options.regions == "boxes":
        scale = min(1.0, SIDE / max(size))
        picture = resize(image, *(max(1, round(side * scale)) for side in size))
        picture = preprocessed(picture, options.preprocessing)
    else:
        if options.heat == "regions" and found is not None:
            own = [region for region in found.regions if region.view == number]
            division = divide.from_regions(own, *size)
        else:
            division = divided(image, options, segmenter)
        if division.count == 0:
            return View(None, size, (SIDE, SIDE), division)
        ready = preprocessed(divide.working(image), options.preprocessing)
        picture = marks.draw(ready, division, options.avoid_small)
    pictures = [*(preprocessed(r.picture, options.preprocessing) for r in references), picture]
    heat = options.heat == "image" and found is not None and bool(found.maps)
    if heat and found is not None:
        pictures.append(heat_picture(image, source, found.maps[number]))
    text = prompts.question(
        sample.class_name,
        options.prompt,
        options.asks,
        normals=sum(r.label == "normal" for r in references),
        anomalous=[r.places for r in references if r.label == "anomalous"],
        heat=heat,
        standards=sample.standards,
    )
    asked = (picture.shape[0], picture.shape[1])
    return View(Message("user", text, tuple(pictures)), size, asked, division)


class Dividing(Protocol):
    """The options of a division; see `GPT4VADOptions`."""

    @property
    def regions(self) -> str: ...
    @property
    def segments(self) -> int: ...
    @property
    def compactness(self) -> float: ...
    @property
    def cells(self) -> int: ...


def divided(image: Image, options: Dividing, segmenter: Segmenter | None) -> Division:
    """The regions of a picture by the options: a grid, SAM's masks or superpixels."""
    if options.regions == "grid":
        return divide.grid(image, SIDE // options.cells)
    if options.regions == "sam":
        assert segmenter is not None  # the detector checks it
        return divide.sam(image, segmenter)
    return divide.superpixel(image, options.segments, options.compactness)


def heat_picture(image: Image, source: Detector | None, raw: AnomalyMap) -> Image:
    """The picture in grey, redder where another detector's calibrated score is higher.

    Args:
        image: (H, W, 3) uint8 RGB.
        source: the detector; without a calibration its map is taken to lie in [0, 1].
        raw: (H, W) float32, its map.

    Returns:
        (768, 768, 3) uint8 RGB: grey at score 0, pure red at 1, whatever the picture's own range.
    """
    calibration = source.calibration if source else None
    scores = calibration.score(raw) if calibration else np.clip(raw, 0.0, 1.0)
    rows, columns = (
        np.minimum((np.arange(SIDE) + 0.5) * side / SIDE, side - 1).astype(int)
        for side in raw.shape
    )
    heat = scores[np.ix_(rows, columns)][..., None]
    grey = divide.working(image).mean(2, keepdims=True)
    red = np.array([255, 0, 0])
    return np.asarray(np.rint(grey * (1 - heat) + red * heat), np.uint8)
