"""Runs a plan, cell by cell, into a folder that goes on where it was stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish import __version__, registry
from blemish.benchmark import figures, folder, perturb
from blemish.benchmark.cell import Cell, safe_name
from blemish.benchmark.folder import FIGURES, Means, Record
from blemish.benchmark.parts import Parts
from blemish.benchmark.plan import Plan
from blemish.benchmark.possible import asks, needs_model
from blemish.benchmark.unify import unify
from blemish.datasets.model import Item, example
from blemish.errors import ImageError, OptionError, ReferencesError
from blemish.runs import folder as run_folder
from blemish.runs import rows as run_rows
from blemish.runs import run as one_run
from blemish.runs.context import Context
from blemish.runs.sources import Item as Picture
from blemish.types import ChatModel, Detector, Example, Sample

Progress = Callable[[int, int], None]
"""Called with pictures done and in all, over all cells."""
_BATCH = 8


def run(
    plan: Plan,
    out: Path,
    means: Means | None = None,
    *,
    command: str = "",
    on_progress: Progress = lambda done, total: None,
) -> list[Record]:
    """Run every cell of a plan that is not done yet.

    Args:
        plan: what to run.
        out: the folder, see `blemish.benchmark.folder`; made where there is none. One that holds
            a part of the same plan goes on.
        means: what to run it with.
        command: what was typed.
        on_progress: called after each batch of pictures.

    Returns:
        What each cell's figures.json holds, in the plan's order.

    Raises:
        SavedError: `out` was written by another version, or is damaged.
        OutputError: `out` holds other runs, or cannot be written.
        OptionError: a detector asks a language model, and `means` has none.
        ReferencesError: a reference cannot be read.
        BlemishError: what a detector cannot do without is missing, such as its weights.
    """
    means = means or Means()
    needed = any(needs_model(cell.detector, cell.options) for cell in plan.cells)
    if needed and means.language_model is None:
        raise OptionError(
            f"{plan.title}: this needs a language model, and none is named. Name one, such as "
            "--llm openai:gpt-5, local:FOLDER for a model that runs here, or scripted:FILE."
        )
    folder.begin(plan, out, means, command)
    runner = _Runner(plan, out, means, command)
    total = sum(len(plan.items(cell)) for cell in plan.cells)
    done, records = 0, []
    for cell in plan.cells:

        def count(now: int, _: int, before: int = done) -> None:
            on_progress(before + now, total)

        records.append(runner.cell(cell, count))
        done += len(plan.items(cell))
        on_progress(done, total)
    unify(plan, out, records)
    return records


class _Runner:
    """Runs cells, and keeps between them what they share: encoders and inspections."""

    def __init__(self, plan: Plan, out: Path, means: Means, command: str) -> None:
        self.plan, self.out, self.means, self.command = plan, out, means, command
        self.parts = Parts(plan, means)
        self._twins: dict[str, Path] = {}

    def cell(self, cell: Cell, on_progress: Progress) -> Record:
        """The figures of one cell: read where it is done, else made."""
        here = folder.cell_folder(self.out, cell)
        # Cells that differ in the rule for verdicts only share one inspection.
        twin = self._twins.setdefault(_inspection(cell), here)
        items, references = self.plan.items(cell), self.plan.references(cell)
        examples = self.plan.examples(cell)
        fingerprint = self._fingerprint(cell, [*items, *references, *examples])
        known = folder.read_json(here / FIGURES)
        done = known and known.get("provenance", {}).get("fingerprint") == fingerprint
        # An endpoint that gave no answer may give one now.
        again = known and known["failed"] and self._asked(cell)
        if known and done and not again:
            return known
        items, changes = self._changed(cell, items)
        seconds: dict[str, float] = {}
        normals = None
        shared = twin != here and not here.exists()
        if shared:
            folder.share(twin, here)
        if not shared or cell.threshold == "max-of-normals":
            begun = time.perf_counter()
            detector = self.parts.detector(cell.detector, cell.options, cell.seed)
            samples = self._samples(cell, detector, items, references)
            shown = [self._example(cell, item) for item in examples]
            fitted = detector.fit(samples, shown) if samples or shown else detector
            seconds["fit"] = time.perf_counter() - begun
            self._inspect(fitted, cell, items, on_progress)
            if cell.threshold == "max-of-normals":
                normals = self._normals(cell, detector, samples)
        folder.write_truth(here, items)
        begun = time.perf_counter()
        rows = {row["id"]: row for row in run_folder.read_rows(here)[0]}
        record = {
            "cell": cell.to_json(),
            **figures.of_cell(self.plan, cell, here, items, rows, normals),
        }
        record["computed"] |= changes
        seconds |= run_rows.stage_seconds([rows[item.id] for item in items])
        seconds["figures"] = time.perf_counter() - begun
        record["provenance"] = self._provenance(cell, here, fingerprint, references, seconds)
        folder.write_json(here / FIGURES, record)
        return record

    def _asked(self, cell: Cell) -> ChatModel | None:
        """The language model that a cell asks, where one is given."""
        return self.means.language_model if asks(cell.detector, cell.options) else None

    def _inspect(
        self, detector: Detector, cell: Cell, items: Sequence[Item], on_progress: Progress
    ) -> None:
        dataset = self.plan.datasets[cell.data]
        summary = one_run.inspect(
            detector,
            [Picture(item.id, item.path) for item in items],
            folder.cell_folder(self.out, cell),
            context=Context(dataset.noun(cell.category).name, dataset.domain),
            draw=False,
            keep_maps=True,
            labels={item.id: str(item.label) for item in items},
            command=self.command,
            on_progress=on_progress,
        )
        if summary.stopped:
            raise summary.stopped

    def _changed(
        self, cell: Cell, items: tuple[Item, ...]
    ) -> tuple[tuple[Item, ...], dict[str, Any]]:
        """The test pictures after the changes that a cell asks for, and what to say of them."""
        if not cell.perturb:
            return items, {}
        names = map(safe_name, ("+".join(cell.perturb), cell.data, cell.category))
        changed = perturb.changed(items, cell.perturb, self.out.joinpath("perturbed", *names))
        said = {"not_occluded": len(changed.as_is)} if "occlusion" in cell.perturb else {}
        return changed.items, said

    def _samples(
        self, cell: Cell, detector: Detector, items: Sequence[Item], references: Sequence[Item]
    ) -> list[Sample]:
        """The pictures that a detector learns from, read."""
        if registry.detector(cell.detector).needs != "folder":
            return self._normal(cell, references)
        # Of more than it takes the seed draws some: a category may not fit into the memory.
        most = getattr(detector, "most", None)
        found: dict[str, Sample] = {}
        for item in sorted(items, key=lambda item: _digest(cell.seed, item.id)):
            if len(found) == most:
                break
            with contextlib.suppress(ImageError):  # the run names it
                found[item.id] = self._sample(cell, item)
        return [found[item.id] for item in items if item.id in found]

    def _normal(self, cell: Cell, references: Sequence[Item]) -> list[Sample]:
        """Normal pictures, read.

        Raises:
            ReferencesError: one cannot be read; with fewer every figure would be another.
        """
        samples = []
        for item in references:
            try:
                samples.append(self._sample(cell, item))
            except ImageError as cause:
                raise ReferencesError(
                    f"A reference of {cell.data}, {item.category}, cannot be used: {cause} The "
                    "seed draws from all training pictures: replace this one, or take it out."
                ) from cause
        return samples

    def _sample(self, cell: Cell, item: Item) -> Sample:
        dataset = self.plan.datasets[cell.data]
        return item.sample(dataset.noun(item.category).name, dataset.domain)

    def _example(self, cell: Cell, item: Item) -> Example:
        dataset = self.plan.datasets[cell.data]
        return example(item, dataset.noun(item.category), dataset.domain)

    def _normals(self, cell: Cell, detector: Detector, samples: Sequence[Sample]) -> list[float]:
        """Raw scores of normal pictures: of references, each scored by what the others teach.

        A detector that learns from none scores all training pictures of the category.
        """
        if registry.detector(cell.detector).needs == "folder":
            return []
        if samples:
            found = [
                detector.fit([*samples[:i], *samples[i + 1 :]]).predict([sample])[0]
                for i, sample in enumerate(samples)
                if len(samples) > 1
            ]
        else:
            pool = self.plan.datasets[cell.data].select(cell.category, "train", "normal")
            found = []
            for start in range(0, len(pool), _BATCH):
                found += detector.predict(self._normal(cell, pool[start : start + _BATCH]))
        return [result.raw_score for result in found if result.raw_score is not None]

    def _fingerprint(self, cell: Cell, files: Sequence[Item]) -> str:
        """Changes whenever a figure of the cell may."""
        return _digest(
            [__version__, folder.FORMAT, cell.to_json(), self.plan.remembers],
            [self.plan.au_pro_limit, self.plan.curve, self.means.device, self.means.dtype],
            [*self.parts.fingerprints(cell.detector, cell.options), *map(_state, files)],
        )

    def _provenance(
        self,
        cell: Cell,
        here: Path,
        fingerprint: str,
        references: Sequence[Item],
        seconds: Mapping[str, float],
    ) -> Record:
        about = run_folder.read_record(here) or {}
        named = [one["id"] for one in about.get("references", [])]
        model = self._asked(cell)
        return {
            "version": __version__,
            "weights": about.get("weights", {}),
            "command": about.get("command", ""),
            "fingerprint": fingerprint,
            "language_model": getattr(model, "fingerprint", None),
            "detector_fingerprint": about.get("detector", {}).get("fingerprint"),
            "references": named or [item.id for item in references],
            "seed": cell.seed,
            "seconds": {stage: round(spent, 4) for stage, spent in seconds.items()},
        }


def _state(item: Item) -> list[Any]:
    """What of a picture and its truth shows that they are as they were."""
    known: list[Any] = [item.id, item.label]
    for path in (item.path, *item.masks):
        try:
            status = path.stat()
        except OSError:  # the run names it
            known.append(path.name)
        else:
            known.append([path.name, status.st_size, status.st_mtime_ns])
    return known


def _inspection(cell: Cell) -> str:
    """The same for cells whose pictures are inspected in the same way."""
    about = cell.to_json()
    return _digest({k: v for k, v in about.items() if k not in ("method", "threshold")})


def _digest(*values: Any) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
