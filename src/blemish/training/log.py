"""What a training tells as it goes: log.jsonl, a line a step, and curves.png drawn from it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypedDict

from blemish.runs.folder import replace_file, writing

LOG, CURVES = "log.jsonl", "curves.png"
_LOGGER = logging.getLogger(__name__)


class Step(TypedDict):
    """One line of log.jsonl.

    Attributes:
        step: how many steps are done, this one included.
        loss: what was minimised, the mean over the step's batches.
        parts: what the model says the loss is made of, each the mean over the batches that have it.
        rate: the learning rate.
        seconds: what the step took.
    """

    step: int
    loss: float
    parts: dict[str, float]
    rate: float
    seconds: float


class Log:
    """The log of a folder, taken up after the last of the steps that count.

    Raises:
        OutputError: the folder cannot be written; from every method.
    """

    def __init__(self, folder: Path, done: int) -> None:
        """Drop the lines past `done` steps: a killed process took them back by dying."""
        self._folder, self._drawn = folder, True
        kept = [row for row in read(folder) if row["step"] <= done]
        with writing(folder):
            replace_file(folder / LOG, b"".join(map(_line, kept)))

    def add(self, row: Step) -> None:
        """Add a line."""
        with writing(self._folder), (self._folder / LOG).open("ab") as file:
            file.write(_line(row))

    def keep(self) -> None:
        """Draw the curves anew; without matplotlib, say once that they are left out."""
        if not self._drawn:
            return
        try:
            picture = draw(read(self._folder))
        except ImportError:
            self._drawn = False
            _LOGGER.warning(
                "%s is left out: matplotlib is not installed. Install it with 'pip install "
                "matplotlib', or read %s.",
                CURVES,
                LOG,
            )
            return
        with writing(self._folder):
            replace_file(self._folder / CURVES, picture)


def read(folder: Path) -> list[Step]:
    """The whole lines of a folder's log; a kill leaves at most a last line that is cut short."""
    path = folder / LOG
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"}\n")]


def draw(rows: Sequence[Step]) -> bytes:
    """Loss, its parts and the learning rate against the step, as PNG.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure: Any = import_module("matplotlib.figure")
    import_module("matplotlib.backends.backend_agg")
    sheet = figure.Figure(figsize=(8, 6), layout="constrained")
    above, below = sheet.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curves = {"loss": [(row["step"], row["loss"]) for row in rows]}
    for row in rows:
        # Batches of different kinds have different parts.
        for name, value in row["parts"].items():
            curves.setdefault(name, []).append((row["step"], value))
    for number, (name, points) in enumerate(curves.items()):
        steps, values = zip(*points, strict=True)
        above.plot(steps, values, color=f"C{number % 10}", alpha=0.3, linewidth=0.8)
        above.plot(steps, _smoothed(values), color=f"C{number % 10}", label=name)
    above.set_ylabel("loss and its parts")
    above.legend(frameon=False)
    below.plot([row["step"] for row in rows], [row["rate"] for row in rows], color="black")
    below.set(xlabel="step", ylabel="learning rate")
    held = io.BytesIO()
    sheet.savefig(held, format="png", dpi=100)
    return held.getvalue()


def _smoothed(values: Sequence[float]) -> list[float]:
    """The running average over about the last 20 steps."""
    smooth, average = [], values[0]
    for value in values:
        average += (value - average) / 20
        smooth.append(average)
    return smooth


def _line(row: Step) -> bytes:
    return json.dumps(row).encode() + b"\n"
