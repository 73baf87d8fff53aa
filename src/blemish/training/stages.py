"""Trainings in several stages, each of which goes on from what the one before has learnt.

A stage has a folder with a checkpoint and a log of its own; a training in one stage has no folder
but its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from blemish.detectors import _saved
from blemish.errors import SavedError
from blemish.training import checkpoint
from blemish.training.log import Step, read
from blemish.training.settings import TrainSettings


def folders(folder: Path, stages: Sequence[TrainSettings]) -> list[Path]:
    """The folder of each stage."""
    return [folder / f"stage-{s.stage}" for s in stages] if len(stages) > 1 else [folder]


def logs(folder: Path, stages: Sequence[TrainSettings]) -> list[list[Step]]:
    """What each stage has told so far."""
    return [read(own) for own in folders(folder, stages)]


def course(
    stages: Sequence[TrainSettings], folder: Path, about: Mapping[str, str]
) -> Iterator[tuple[TrainSettings, Path, Mapping[str, str]]]:
    """What `loop.train` is to be called with next, as long as each call reaches its stage's end.

    A stage that is done is called for too: its end is what the next one starts from, and whether it
    is of the same training is looked at there.

    Args:
        stages: in order; the minutes of the first are those of all of them together.
        folder: of the training.
        about: see `loop.train`; later stages add the digest of what they start from.

    Raises:
        SavedError: the folder is of a training in other stages.
    """
    known = folders(folder, stages)
    if other := [path for path in folder.rglob(checkpoint.FILE) if path.parent not in known]:
        raise SavedError(
            f"{other[0]} is of another training, in other stages than the {len(stages)} asked for. "
            "Start as before to go on with it, or choose another folder."
        )
    began, minutes, about = time.monotonic(), stages[0].minutes, dict(about)
    for settings, own in zip(stages, known, strict=True):
        left = minutes and max(minutes - (time.monotonic() - began) / 60, 1e-9)
        yield settings.model_copy(update={"minutes": left}), own, dict(about)
        saved = checkpoint.read(own)
        if saved is None or saved.step < settings.steps:
            return
        about["stage before"] = _saved.digest((own / checkpoint.FILE).read_bytes())
