"""Which modality a file is of, and the one door through which recordings are opened."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import PIL.Image
from pydantic import BaseModel, ValidationError

from blemish.errors import OptionError, nearest, unfit
from blemish.modalities.point_cloud import CloudOptions, is_cloud, open_cloud
from blemish.modalities.recording import Modality, Recording
from blemish.modalities.time_series import SERIES_SUFFIXES, SeriesOptions, open_series
from blemish.modalities.video import VIDEO_SUFFIXES, VideoOptions, open_video

MODALITIES: tuple[Modality, ...] = get_args(Modality)
CLOUD_SUFFIXES = frozenset({".ply", ".pcd"})
"""Endings, in lower case, of files that are point clouds; a TIFF may be one too."""


class _Opener(NamedTuple):
    options: type[BaseModel]
    open: Callable[..., Recording]


_OPENERS: Mapping[Modality, _Opener] = {
    "video": _Opener(VideoOptions, open_video),
    "point-cloud": _Opener(CloudOptions, open_cloud),
    "time-series": _Opener(SeriesOptions, open_series),
}


def modality_of(path: str | Path) -> Modality | None:
    """What a file is; None for a picture, a folder, and whatever else.

    The ending decides for videos, series, PLY and PCD, the content for animated GIFs and for TIFFs
    that hold x, y and z.
    """
    path = Path(path)
    if path.is_dir():
        return None
    ending = path.suffix.lower()
    if ending in VIDEO_SUFFIXES:
        return "video"
    if ending in SERIES_SUFFIXES:
        return "time-series"
    if ending in CLOUD_SUFFIXES or is_cloud(path):
        return "point-cloud"
    return "video" if _moves(path) else None


def modality(name: str) -> Modality:
    """A modality that a user names. Raises OptionError with the nearest names."""
    for known in MODALITIES:
        if name.strip().lower().replace("_", "-") == known:
            return known
    raise OptionError(f"There is no modality called '{name}'. {nearest(name, MODALITIES)}")


def checked(modality: Modality, options: Mapping[str, Any]) -> BaseModel:
    """The options of a modality as its own model.

    Raises:
        OptionError: an option that it does not have, or a wrong value.
    """
    model = _OPENERS[modality].options
    try:
        return model(**options)
    except ValidationError as cause:
        raise unfit(f"modality {modality}", cause, model.model_fields) from cause


def open_recording(
    path: str | Path, modality: Modality, options: Mapping[str, Any], *, id: str, class_name: str
) -> Recording:
    """Open a file, or a folder of frames, as a modality.

    Args:
        path: of the file or folder.
        modality: as what to open it.
        options: of `VideoOptions`, `CloudOptions` or `SeriesOptions`, by name.
        id: of the recording in the results.
        class_name: what is to be seen, as prompts call it.

    Raises:
        OptionError: an option that the modality does not have, or that does not fit the file.
        InputError: the file is missing, damaged or of another kind.
        MissingExtraError: what reads such files is not installed.
    """
    made = checked(modality, options)
    return _OPENERS[modality].open(path, made, id=id, class_name=class_name)


def _moves(path: Path) -> bool:
    """Whether a file is a GIF of several frames."""
    with contextlib.suppress(Exception):  # Whatever reads the file next says what is wrong with it.
        with path.open("rb") as file:
            if not file.read(6).startswith((b"GIF87a", b"GIF89a")):
                return False
        with PIL.Image.open(path, formats=["GIF"]) as picture:
            picture.seek(1)
            return True
    return False
