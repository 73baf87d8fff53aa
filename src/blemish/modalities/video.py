"""Videos: frames taken by time or by change of scene, and scores carried back to seconds.

Reads MP4, MOV, MKV, WebM and AVI with PyAV, animated GIFs, and folders of frames. Frames are
decoded while they are asked for; each keeps its own size. Times are those that the file gives its
frames, not their number by a rate, in seconds since the video's start.

A taken frame speaks for the time up to the next one, the last one for the time up to the end. Its
score is the highest of the windows that hold it; a window without a score says nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from blemish.errors import ImageError
from blemish.modalities import _film
from blemish.modalities._frames import ByScene, ByTime, Folder, Gif, Pick, Source
from blemish.modalities._spans import in_words, merged
from blemish.modalities.recording import Carried, Judged, Modality, Recording, combine
from blemish.types import Image, Sample, Verdict

VIDEO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi"})
"""Endings, in lower case, of files that are videos; a GIF and a folder may be pictures too."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class VideoOptions(BaseModel):
    """Which frames of a video are looked at.

    Attributes:
        every: seconds from one frame to the next.
        scenes: take frames by change of scene instead: the first one, and each one whose
            brightness differs by more than this from the last one taken, on average over the
            picture, from 0 (black) to 1 (white). A cut is about 0.1 or more.
        window: frames that are asked about together.
        step: frames from one window to the next, at most `window`, so that none is left out.
        most: frames that are looked at before the rest of the video is left out.
        rate: frames a second of a folder of frames.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Seconds = 1.0
    scenes: Annotated[float, Field(gt=0, lt=1)] | None = None
    window: Annotated[int, Field(ge=1, le=64)] = 1
    step: Annotated[int, Field(ge=1)] | None = None
    most: Annotated[int, Field(ge=1)] | None = None
    rate: Seconds = 1.0

    @model_validator(mode="after")
    def _no_frame_left_out(self) -> VideoOptions:
        if self.step is not None and self.step > self.window:
            raise ValueError(
                f"step {self.step} is more than window {self.window}: frames between two windows "
                "would be looked at by none. Choose a step of at most the window."
            )
        return self


def open_video(path: str | Path, options: VideoOptions, *, id: str, class_name: str) -> Recording:
    """Open a video file, an animated GIF or a folder of frames.

    Args:
        path: of the file or folder; the content decides what it is, never the name.
        options: which frames are looked at.
        id: of the recording in the results.
        class_name: what is to be seen, as prompts call it.

    Raises:
        ImageError: no such file, no video, or one whose header is damaged.
        MissingExtraError: a video file came, and PyAV is not installed.
    """
    return _Video(_source(Path(path), options.rate), options, id, class_name)


def _source(path: Path, rate: float) -> Source:
    try:
        if path.is_dir():
            return Folder(path, rate)
        if not path.is_file():
            raise ImageError(f"{path} is not a file that can be read. Check its spelling.")
        with path.open("rb") as file:
            start = file.read(16)
        if start.startswith((b"GIF87a", b"GIF89a")):
            return Gif(path)
    except OSError as error:
        raise ImageError(f"{path} could not be read: {error.strerror or error}.") from None
    if not start:
        raise ImageError(f"{path} is empty (0 bytes). Copy it again from where it came.")
    kind = _film.kind(start)
    if not kind:
        raise ImageError(
            f"{path} is no video that blemish reads: it begins with {start[:8].hex(' ')}. Expected "
            "MP4, MOV, MKV, WebM, AVI, an animated GIF or a folder of frames."
        )
    return _film.Film(path, kind)


class _Video:
    """A recording of frames."""

    modality: Modality = "video"

    def __init__(self, source: Source, options: VideoOptions, id: str, class_name: str) -> None:
        self._source = source
        self._options = options
        self._id = id
        self._class_name = class_name
        self._times: list[float] = []
        """Of the frames taken so far."""
        self._held: dict[str, range] = {}
        """Sample id to the frames it holds."""
        self._end = source.end
        self._cut = False
        """Whether `most` left out the time from `_end` on."""
        self.about: Mapping[str, Any] = self._summary()

    def _summary(self) -> Mapping[str, Any]:
        options = self._options
        return {
            **self._source.about,
            "seconds": self._source.end,
            "every": options.every if options.scenes is None else None,
            "scenes": options.scenes,
            "window": options.window,
            "step": options.step or options.window,
            "frames_taken": len(self._times),
            "left_out_from": self._end if self._cut else None,
        }

    def samples(self) -> Iterator[Sample]:
        """Windows of frames, in order; the last one is full too, and may overlap more."""
        window = self._options.window
        step = self._options.step or window
        held: deque[Image] = deque(maxlen=window)
        self._times, self._held, self._cut = [], {}, False
        new = 0
        for image in self._taken():
            held.append(image)
            new += 1
            if len(held) == window and new >= (step if self._held else window):
                yield self._sample(held)
                new = 0
        if new:
            yield self._sample(held)
        self.about = self._summary()

    def _sample(self, held: Iterable[Image]) -> Sample:
        images = list(held)
        count = len(self._times)
        frames = range(count - len(images), count)
        first, last = self._times[frames[0]], self._times[frames[-1]]
        for digits in (2, 4, 9):
            name = f"{first:.{digits}f} s"
            if len(images) > 1:
                name = f"{first:.{digits}f} to {last:.{digits}f} s"
            if name not in self._held:
                break
        self._held[name] = frames
        return Sample(images, self._class_name, domain="scene", id=name)

    def _taken(self) -> Iterator[Image]:
        """Pictures of the frames that are looked at; notes their times and the end."""
        options = self._options
        pick: Pick = (
            ByScene(options.scenes) if options.scenes is not None else ByTime(options.every)
        )
        for frame in self._source.frames(pick):
            if len(self._times) == options.most:
                # The last frame spoke for the time up to here.
                self._end, self._cut = frame.time, True
                return
            if pick.takes(frame):
                self._times.append(frame.time)
                yield frame.image()
        self._end = self._source.end

    def back(self, judged: Iterable[Judged]) -> Carried:
        """What was found, with a span for each frame."""
        scores: dict[int, float] = {}
        verdicts: dict[Verdict, list[range]] = {"normal": [], "unsure": [], "anomalous": []}

        def noted() -> Iterator[Judged]:
            for sample, found in judged:
                frames = self._held[sample.id]
                verdicts[found.verdict].append(frames)
                for frame in frames:
                    scores[frame] = max(scores.get(frame, 0.0), found.score or 0.0)
                yield sample, found

        carried = combine(self._id, noted())
        whole = carried.inspection
        edges = [*self._times, max(self._end, self._times[-1])]
        if edges[-1] == edges[-2]:  # A file of one frame that says nothing of its duration.
            edges[-1] += self._options.every
        words, where = whole.explanation, ""
        if whole.verdict != "normal":
            stretches = ((edges[r[0]], edges[r[-1] + 1]) for r in verdicts[whole.verdict])
            where = in_words(stretches, lambda time: f"{time:.1f} s")
            words = f"{words} {'Found' if whole.verdict == 'anomalous' else 'Unsure'} {where}."
        if self._cut:
            words += f" Nothing was looked at from {self._end:.1f} s on."
        spans = merged(edges, [scores.get(i, 0.0) for i in range(len(self._times))])
        found = replace(whole, spans=spans, explanation=words.strip())
        return replace(carried, inspection=found, where=where)
