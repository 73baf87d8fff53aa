"""Detectors of lines: what a person may choose, how one is fitted, and those that are at hand."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish import build, registry
from blemish.errors import OptionError, OutputError, ReferencesError
from blemish.service import permits
from blemish.service.settings import ServiceSettings
from blemish.service.types import Version
from blemish.types import Detector, Example, Sample

MOST = 4
"""Fitted detectors that are kept in the memory, those used last."""


def check(
    detector: str,
    options: Mapping[str, Any],
    language_model: str,
    references: int,
    settings: ServiceSettings,
) -> None:
    """Refuse a line that could never work; nothing is built.

    Args:
        detector: a name.
        options: its own and its parts.
        language_model: a kind and a name, or "".
        references: how many normal parts came.
        settings: of the station, which say what may be opened and asked.

    Raises:
        OptionError: a name or option that does not exist, or does not go together.
        ReferencesError: the detector needs references, and none came.
    """
    entry = registry.detector(detector)
    if own := [part for part in ("language_model", "speaker") if part in options]:
        raise OptionError(f"A line names its language model itself; leave the option {own[0]} out.")
    build.check(detector, options)
    permits.check_options(detector, options, settings)
    if entry.needs == "folder":
        raise OptionError(
            f"{detector} compares the pictures of one folder with each other, and a line inspects "
            "one part at a time. Choose a detector that compares with good parts, such as "
            "patch-memory."
        )
    if entry.needs == "references" and not references:
        raise ReferencesError(
            f"{detector} compares parts with good ones, and none came. Add at least one picture "
            "of a good part."
        )
    if language_model:
        permits.check_language_model(language_model, settings)
    elif entry.needs == "language model":
        raise OptionError(
            f"{detector} asks a language model, and the line names none. Name one, such as "
            "openai:gpt-5."
        )


def learns(detector: str) -> bool:
    """Whether normal parts teach a detector anything."""
    entry = registry.detector(detector)
    return entry.needs in ("references", "language model") or entry.few_shot


def at_once(detector: str, most: int) -> int:
    """How many pictures a worker takes: one that waits for an endpoint waits for one only."""
    return 1 if registry.detector(detector).needs == "language model" else most


def fitted(
    version: Version,
    normals: Sequence[Sample],
    feedback: Sequence[Example],
    where: Mapping[str, Any],
) -> Detector:
    """A version's detector, fitted anew.

    Args:
        version: what to build.
        normals: its references.
        feedback: parts that a person judged.
        where: device and dtype.
    """
    detector = build.load(version.detector, **where, **_options(version))
    if detector.calibration is None and (normals or feedback):
        return detector.fit(normals, feedback)
    return detector


def _options(version: Version) -> dict[str, Any]:
    entry = registry.detector(version.detector)
    options = dict(version.options)
    if version.language_model and "language_model" in entry.parts and not entry.embeds:
        options.setdefault("language_model", version.language_model)
    return options


def save(detector: Detector, folder: Path) -> None:
    """Write a fitted detector as a whole; what a killed station left there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    scratch = folder.with_name(f".{folder.name}.new")
    try:
        for old in (scratch, folder):
            shutil.rmtree(old, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        detector.save(scratch)
        scratch.rename(folder)
    except OSError as cause:
        raise OutputError(
            f"The detector cannot be kept in {folder}: {cause.strerror or cause}. Make room, or "
            "give this account the permission to write."
        ) from cause


class Detectors:
    """Fitted detectors by folder, loaded when they are first needed; computes one batch at a time.

    Args:
        where: device and dtype.
    """

    def __init__(self, where: Mapping[str, Any]) -> None:
        self._where = dict(where)
        self._held: OrderedDict[Path, Detector] = OrderedDict()
        self._lock = threading.Lock()
        self._computing = threading.Lock()

    def get(self, folder: Path, version: Version) -> Detector:
        """A version's detector.

        Raises:
            SavedError: its folder is damaged, or was made with other weights.
            WeightsError: the weights are gone.
        """
        with self._lock:  # two threads need not load the same one
            if folder not in self._held:
                self._held[folder] = self._load(folder, version)
            self._held.move_to_end(folder)
            while len(self._held) > MOST:
                self._held.popitem(last=False)
            return self._held[folder]

    def put(self, folder: Path, detector: Detector) -> None:
        """Keep one that was just fitted."""
        with self._lock:
            self._held[folder] = detector

    def forget(self, folder: Path) -> None:
        """Let go of those in a folder's folders."""
        with self._lock:
            for held in [held for held in self._held if held.parent == folder]:
                del self._held[held]

    def _load(self, folder: Path, version: Version) -> Detector:
        model = _options(version).get("language_model")
        entry = registry.detector(version.detector)
        again = {"language_model": model} if model and not entry.embeds else {}
        return build.load(folder, **self._where, **again)

    @contextlib.contextmanager
    def turn(self, detector: Detector) -> Iterator[None]:
        """Hold while a detector computes; one that waits for an endpoint needs no turn."""
        if getattr(detector, "at_once", None) is None:
            with self._computing:
                yield
        else:
            yield
