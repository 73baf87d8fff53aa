"""The values that travel through blemish, and the protocols that its parts follow.

All dataclasses are frozen and validated when they are made. Images are (H, W, 3) uint8 RGB,
masks (H, W) bool, maps (H, W) float32; boxes are XYXY in pixels, the upper bound exclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from blemish.errors import InputError

Image = NDArray[np.uint8]
"""(H, W, 3) uint8 RGB."""
Mask = NDArray[np.bool_]
"""(H, W) bool, True where anomalous."""
AnomalyMap = NDArray[np.float32]
"""(H, W) float32, higher is more anomalous."""

Verdict = Literal["normal", "anomalous", "unsure"]
DecidedBy = Literal["calibration", "language model", "probability", "nothing"]
Reason = Literal[
    "", "inside the band", "refused", "unparsed", "hedged", "contradicted", "nothing to decide on"
]
Domain = Literal["industrial", "medical", "depth", "scene", "signal"]


def _image(array: Any, what: str) -> Image:
    """Check one image and return a read-only view of it."""
    image = np.asarray(array)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"{what} has shape {image.shape} and dtype {image.dtype}; expected (H, W, 3) uint8 "
            "RGB with at least one pixel. blemish.read_image(path) reads a file into this form."
        )
    image = image.view()
    image.flags.writeable = False
    return image


@dataclass(frozen=True, eq=False)
class Sample:
    """One part to look at.

    Attributes:
        images: one or more views, each (H, W, 3) uint8 RGB; a single array is taken as one view.
        class_name: what the part is called in prompts and reports.
        references: normal samples that replace the detector's own for this sample, or labelled
            examples where a method can use anomalous ones too.
        standards: what normal looks like, in words.
        auxiliary: what else is known of the part, by name and with its unit, such as
            {"torque": "4.1 Nm"}; only what a person named, never a file's own metadata.
        domain: where the picture comes from.
        id: where the sample came from, such as its path; unique within a run.

    Raises:
        InputError: an image is not (H, W, 3) uint8.
    """

    images: tuple[Image, ...]
    class_name: str = "object"
    references: tuple[Sample | Example, ...] = ()
    standards: str = ""
    auxiliary: Mapping[str, str] = field(default_factory=dict)
    domain: Domain = "industrial"
    id: str = ""

    def __init__(
        self,
        images: Image | Sequence[Image],
        class_name: str = "object",
        references: Sequence[Sample | Example] = (),
        standards: str = "",
        auxiliary: Mapping[str, str] | None = None,
        domain: Domain = "industrial",
        id: str = "",
    ) -> None:
        views = [images] if isinstance(images, np.ndarray) and images.ndim < 4 else list(images)
        if not views:
            raise InputError("A sample needs at least one image; none came.")
        put = object.__setattr__
        put(self, "images", tuple(_image(v, f"Image {i + 1}") for i, v in enumerate(views)))
        put(self, "class_name", class_name)
        put(self, "references", tuple(references))
        put(self, "standards", standards)
        put(self, "auxiliary", dict(auxiliary or {}))
        put(self, "domain", domain)
        put(self, "id", id)
        if domain not in get_args(Domain):
            raise InputError(f"Domain {domain!r} is unknown; expected one of {get_args(Domain)}.")

    @property
    def image(self) -> Image:
        """The first view, (H, W, 3) uint8 RGB."""
        return self.images[0]


@dataclass(frozen=True, eq=False)
class Example:
    """A sample with its truth, as datasets give it.

    Attributes:
        sample: the part.
        label: "normal" or "anomalous".
        mask: (H, W) bool of the first view, True where anomalous; None where only the label is
            known.
        kind: what sort of anomaly it is, such as "crack"; for a normal part "good", or what was
            found on it and rejected.
    """

    sample: Sample
    label: Literal["normal", "anomalous"]
    mask: Mask | None = None
    kind: str = "good"

    def __post_init__(self) -> None:
        if self.label not in ("normal", "anomalous"):
            raise InputError(f"Label {self.label!r} came; expected 'normal' or 'anomalous'.")
        if self.mask is not None:
            want = self.sample.image.shape[:2]
            if self.mask.shape != want or self.mask.dtype != np.bool_:
                raise InputError(
                    f"Mask of {self.sample.id or 'the sample'} has shape {self.mask.shape} and "
                    f"dtype {self.mask.dtype}; expected {want} bool, the size of its image."
                )


@dataclass(frozen=True, eq=False)
class Region:
    """One marked place in one view.

    Attributes:
        label: number of the region within its inspection, from 1.
        box: (x0, y0, x1, y1) in pixels, x1 and y1 exclusive.
        mask: (y1 - y0, x1 - x0) bool, the region's pixels inside its box.
        score: calibrated, in [0, 1], higher is more anomalous.
        position: one of the nine words of `blemish.places.POSITIONS`.
        view: index of the view in the sample.
    """

    label: int
    box: tuple[int, int, int, int]
    mask: Mask
    score: float
    position: str
    view: int = 0

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (0 <= x0 < x1 and 0 <= y0 < y1):
            raise InputError(f"Box {self.box} is empty or inverted; expected x0 < x1 and y0 < y1.")
        if self.mask.shape != (y1 - y0, x1 - x0) or self.mask.dtype != np.bool_:
            raise InputError(
                f"Region mask has shape {self.mask.shape} and dtype {self.mask.dtype}; expected "
                f"{(y1 - y0, x1 - x0)} bool, the size of box {self.box}."
            )
        if not 0.0 <= self.score <= 1.0:
            raise InputError(f"Region score {self.score} lies outside [0, 1].")

    @property
    def area(self) -> int:
        """Number of pixels that belong to the region."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Usage:
    """What an inspection cost: model calls, tokens, money, and seconds by stage."""

    model_calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Usage) -> Usage:
        """Both together; `sum(usages, Usage())` adds up several."""
        seconds = dict(self.seconds)
        for stage, spent in other.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
        return Usage(
            self.model_calls + other.model_calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.cost + other.cost,
            seconds,
        )


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a detector found on one sample.

    Attributes:
        id: the sample's id.
        verdict: "normal", "anomalous" or "unsure".
        decided_by: who decided: the calibration, a language model, a probability, or nothing.
        reason: why the verdict is unsure; empty otherwise.
        score: calibrated, in [0, 1], higher is more anomalous; None where nothing could score.
        raw_score: the detector's own score, any range, higher is more anomalous.
        maps: one (H, W) float32 raw anomaly map per view at the view's own size; may be empty.
        regions: marked places, most anomalous first.
        spans: (start, end, score) where the source had a time axis, in seconds or its own unit of
            time; in order, without gaps or overlaps; the score in [0, 1].
        points: (P,) float32 score in [0, 1] of each point, where the source was a point cloud.
        explanation: what a person reads.
        evidence: what the verdict stands on, as JSON values.
        usage: model calls, tokens, cost, seconds by stage.
    """

    id: str
    verdict: Verdict
    decided_by: DecidedBy
    reason: Reason = ""
    score: float | None = None
    raw_score: float | None = None
    maps: tuple[AnomalyMap, ...] = ()
    regions: tuple[Region, ...] = ()
    spans: tuple[tuple[float, float, float], ...] = ()
    points: NDArray[np.float32] | None = None
    explanation: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if self.verdict not in get_args(Verdict):
            raise InputError(f"Verdict {self.verdict!r}; expected one of {get_args(Verdict)}.")
        if self.decided_by not in get_args(DecidedBy):
            raise InputError(f"decided_by {self.decided_by!r}; expected {get_args(DecidedBy)}.")
        if self.reason not in get_args(Reason) or (self.verdict == "unsure") != bool(self.reason):
            raise InputError(
                f"Reason {self.reason!r} with verdict {self.verdict!r}; an unsure verdict takes "
                f"one of {get_args(Reason)[1:]}, any other none."
            )
        if self.score is not None and not 0.0 <= self.score <= 1.0:
            raise InputError(f"Score {self.score} lies outside [0, 1].")
        for anomaly_map in self.maps:
            if anomaly_map.ndim != 2 or anomaly_map.dtype != np.float32:
                raise InputError(
                    f"Anomaly map has shape {anomaly_map.shape} and dtype {anomaly_map.dtype}; "
                    "expected (H, W) float32."
                )

    @property
    def anomaly_map(self) -> AnomalyMap | None:
        """The raw map of the first view, (H, W) float32, or None."""
        return self.maps[0] if self.maps else None


@dataclass(frozen=True)
class Failure:
    """An input that could not be inspected: what it was, and why, in words for a person."""

    id: str
    error: str
    message: str


@dataclass(frozen=True, eq=False)
class Features:
    """What an image encoder sees in one image.

    Attributes:
        class_token: (D,) float32, the whole image.
        patches: layer number (from 1) to patch tokens (h, w, D) float32; row 0 is the image's top.
    """

    class_token: NDArray[np.float32]
    patches: Mapping[int, NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class Message:
    """One turn of a conversation with a language model.

    Attributes:
        role: "system", "user" or "assistant".
        text: what is said.
        images: each (H, W, 3) uint8 RGB, shown in this order before the text.
    """

    role: Literal["system", "user", "assistant"]
    text: str
    images: tuple[Image, ...] = ()

    def __post_init__(self) -> None:
        if self.role not in ("system", "user", "assistant"):
            raise InputError(f"Role {self.role!r} came; expected 'system', 'user' or 'assistant'.")
        images = tuple(_image(v, f"Image {i + 1} of a message") for i, v in enumerate(self.images))
        object.__setattr__(self, "images", images)


@dataclass(frozen=True)
class Token:
    """One token of a reply with the probabilities that the model gave.

    Attributes:
        text: the token.
        logprob: natural logarithm of its probability.
        others: the most likely tokens at this place, itself included, to their logprobs.
    """

    text: str
    logprob: float
    others: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What a language model answered.

    Attributes:
        text: the answer, without the prompt.
        usage: calls, tokens, money and seconds that it took.
        ended: "stop" where the model had finished, "length" where the token limit cut it off,
            "refused" where the model or its filter declined.
        tokens: with their probabilities; empty where the model does not offer them.
        model: what answered, as the endpoint names it.
        dropped: parameters that the model does not take and that were left out, such as "seed".
        cached: it was read from the cache and cost nothing now.
    """

    text: str
    usage: Usage = field(default_factory=Usage)
    ended: Literal["stop", "length", "refused"] = "stop"
    tokens: tuple[Token, ...] = ()
    model: str = ""
    dropped: tuple[str, ...] = ()
    cached: bool = False


@runtime_checkable
class ChatModel(Protocol):
    """Answers messages that may hold images."""

    name: str
    fingerprint: str
    """Changes whenever the same messages might get another answer: model, endpoint, parameters."""

    def chat(
        self,
        messages: Sequence[Message],
        *,
        schema: Mapping[str, Any] | None = None,
        logprobs: int = 0,
        attempt: int = 0,
    ) -> Reply:
        """One answer.

        Args:
            messages: the conversation, the last of them from the user.
            schema: JSON schema that the answer should follow, where the model can be held to it.
            logprobs: how many alternatives a token to ask for; 0 for none.
            attempt: tells repeated questions apart, for the cache and for the seed.

        Raises:
            ChatError: no answer could be had.
            BudgetError: the answer would exceed the budget.
        """
        ...

    def stream(self, messages: Sequence[Message]) -> Iterator[str]:
        """The answer piece by piece, closable at any time."""
        ...


@runtime_checkable
class Encoder(Protocol):
    """Turns images into patch tokens."""

    name: str
    fingerprint: str
    """Changes whenever the same image would give other features: weights, dtype, device."""
    default_layers: tuple[int, ...]
    default_size: int

    def encode(
        self, images: Sequence[Image], *, layers: Sequence[int], size: int
    ) -> list[Features]:
        """Encode images of any sizes, one `Features` each, in order.

        Args:
            images: each (H, W, 3) uint8 RGB.
            layers: which layers' patch tokens to return, from 1.
            size: side in pixels of the square whose area the resized image keeps; the aspect
                ratio is kept as nearly as whole patches allow.
        """
        ...


@runtime_checkable
class Detector(Protocol):
    """Finds what is wrong with a part. A fitted detector never changes."""

    name: str
    fingerprint: str
    """Changes whenever the same sample would get another result."""
    calibration: Any
    """The `blemish.calibration.Calibration` in force, or None."""

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """A new detector that knows these normal samples; this one stays as it is."""
        ...

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """One inspection a sample, in order. Changes nothing."""
        ...

    def with_calibration(self, calibration: Any) -> Self:
        """The same fitted detector with another calibration, such as a moved operating point."""
        ...

    def save(self, folder: Path) -> None:
        """Write the fitted detector to a folder that `blemish.load` brings back."""
        ...
