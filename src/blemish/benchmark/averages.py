"""Means over seeds and categories, as one row a figure.

Figures of categories are averaged, never pooled: scores of two categories are seldom on one scale.
A category counts in a mean where its figure is defined for every seed, so that each seed averages
over the same categories; the mean says of how many it is. The spread is the standard deviation
over seeds (n - 1 below the line), of the mean itself where it is a mean's.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, Literal

from blemish.benchmark.protocol import Protocol, Published

Cell = Mapping[str, Any]
"""What a cell's figures.json holds."""
Level = Literal["category", "group", "mean"]

UNITS = {
    **{"latency": "s", "throughput": "1/s", "parameters": "M", "flops": "G"},
    **{"agreement": "", "score_spread": ""},
}
"""Units of figures that are not shares; every other is shown in per cent."""


@dataclass(frozen=True)
class Row:
    """One figure, in its unit.

    Attributes:
        data: the data set.
        method: as the protocol names it.
        detector: what ran; "" for a method that is only quoted.
        shots: normal references; None for all training pictures.
        category: of the data set, a group of the protocol, or "mean".
        level: which of the three.
        metric: which figure.
        unit: "%", "s", ...; "" for none.
        seed: of one draw; None where the figure is the mean over all seeds.
        ours: the figure; None where there is none, and `note` says why.
        spread: standard deviation over seeds; None for fewer than two.
        seeds: how many it is a mean of.
        counted: categories that went in.
        of: categories that should have.
        published: the document's figure.
        published_spread: what it prints after ±.
        difference: ours - published; None where ours is a mean of fewer categories.
        quoted: the method is not built here; only its published figure is known.
        note: why a figure is missing or what was left out.
        computed: how, as the cells say, as JSON.
        version: of blemish.
        weights: name to sha256, as JSON.
        language_model: that was asked, and what answered.
        command: what was typed.
    """

    data: str
    method: str
    detector: str
    shots: int | None
    category: str
    level: Level
    metric: str
    unit: str
    seed: int | None = None
    ours: float | None = None
    spread: float | None = None
    seeds: int = 0
    counted: int = 0
    of: int = 0
    published: float | None = None
    published_spread: float | None = None
    difference: float | None = None
    quoted: bool = False
    note: str = ""
    computed: str = ""
    version: str = ""
    weights: str = ""
    language_model: str = ""
    command: str = ""


@dataclass(frozen=True, eq=False)
class Corner:
    """One method with one number of shots on one data set.

    Attributes:
        data: the data set.
        method: as the protocol names it.
        shots: normal references; None for all training pictures.
        cells: all of them, category by seed.
        categories: those that the mean should be of.
        protocol: None for a free combination.
    """

    data: str
    method: str
    shots: int | None
    cells: Sequence[Cell]
    categories: tuple[str, ...]
    protocol: Protocol | None

    def rows(self, metric: str) -> Iterator[Row]:
        """Means over seeds, each followed by the seeds' own where there are several."""
        for category, level, names in self._places():
            row = self._row(metric, category, level, names)
            if row.ours is None and row.published is None and not row.note:
                continue
            yield row
            if row.ours is not None and len(self._seeds) > 1:
                yield from (self._row(metric, category, level, names, s) for s in self._seeds)

    def _places(self) -> Iterator[tuple[str, Level, tuple[str, ...]]]:
        """Category, group or mean, and the categories that it is of."""
        ran = {cell["cell"]["category"] for cell in self.cells}
        for name in self.categories:
            if name in ran or any(one.category == name for one in self._printed):
                yield name, "category", (name,)
        if self.protocol:
            for group, names in self.protocol.groups.get(self.data, {}).items():
                yield group, "group", names
        yield "mean", "mean", self.categories

    def _row(
        self,
        metric: str,
        category: str,
        level: Level,
        names: tuple[str, ...],
        seed: int | None = None,
    ) -> Row:
        """The figure of some categories, for one seed or as the mean over all."""
        values = self._values(metric)
        seeds = self._seeds if seed is None else [seed]
        if level == "category":  # no other category asks for all seeds
            seeds = [one for one in seeds if (category, one) in values]
        whole = [name for name in names if all((name, one) in values for one in seeds)]
        each = [fmean(values[name, one] for name in whole) for one in seeds] if whole else []
        ours = fmean(each) if each else None
        said = next(
            (p for p in self._printed if (p.category, p.metric) == (category, metric)), None
        )
        comparable = said is not None and ours is not None and len(whole) == len(names)
        return Row(
            data=self.data,
            method=self.method,
            detector=self.cells[0]["cell"]["detector"] if self.cells else "",
            shots=self.shots,
            category=category,
            level=level,
            metric=metric,
            unit=self._unit(metric),
            seed=seed,
            ours=ours,
            spread=stdev(each) if len(each) > 1 else None,
            seeds=len(each),
            counted=len(whole) if each else 0,
            of=len(names),
            published=said.value if said else None,
            published_spread=said.spread if said else None,
            difference=ours - said.value if comparable and ours is not None and said else None,
            quoted=self._quoted,
            note=self._note(metric, names),
            **self._provenance([c for c in self._of(names) if c["cell"]["seed"] in seeds]),
        )

    def _note(self, metric: str, names: Sequence[str]) -> str:
        """Which categories or seeds are missing from a figure, and why."""
        if not self.cells:
            return ""
        ran = {cell["cell"]["category"] for cell in self.cells}
        absent = [name for name in names if name not in ran]
        why = [
            f"{cell['cell']['category']}, seed {cell['cell']['seed']}: {cell['undefined'][metric]}"
            for cell in self._of(names)
            if metric in cell.get("undefined", {})
        ]
        return "; ".join([*([f"not run: {', '.join(absent)}"] if absent else []), *why])

    def _values(self, metric: str) -> dict[tuple[str, int], float]:
        """Category and seed to the figure in its unit."""
        scale = 1.0 if metric in UNITS else 100.0
        return {
            (cell["cell"]["category"], cell["cell"]["seed"]): cell["figures"][metric] * scale
            for cell in self.cells
            if cell["figures"].get(metric) is not None
        }

    def _of(self, names: Sequence[str]) -> list[Cell]:
        return [cell for cell in self.cells if cell["cell"]["category"] in names]

    def _unit(self, metric: str) -> str:
        units: Mapping[Any, str] = self.protocol.units if self.protocol else {}
        return units.get(metric, UNITS.get(metric, "%"))

    @cached_property
    def _seeds(self) -> list[int]:
        return sorted({cell["cell"]["seed"] for cell in self.cells})

    @cached_property
    def _printed(self) -> list[Published]:
        """What the document prints of this method, data set and number of shots."""
        here = (self.method, self.data, self.shots)
        every = self.protocol.published if self.protocol else ()
        return [one for one in every if (one.method, one.data, one.shots) == here]

    @cached_property
    def _quoted(self) -> bool:
        runs = self.protocol.runs if self.protocol else ()
        return any(run.method == self.method and run.detector is None for run in runs)

    @staticmethod
    def _provenance(cells: Sequence[Cell]) -> dict[str, str]:
        """What the cells behind a figure say of how it came about."""
        about = [cell.get("provenance", {}) for cell in cells]
        weights = {name: sha for one in about for name, sha in one.get("weights", {}).items()}
        return {
            "computed": _joined(json.dumps(cell.get("computed", {})) for cell in cells),
            "version": _joined(one.get("version", "") for one in about),
            "weights": json.dumps(weights) if weights else "",
            "language_model": _joined(answered(cell) for cell in cells),
            "command": _joined(one.get("command", "") for one in about),
        }


def answered(cell: Cell) -> str:
    """The language model that a cell asked, and what answered, where that calls itself otherwise.

    >>> answered({"language_model": {"name": "gpt-5", "answered_by": ["gpt-5-2025-08-07"]}})
    'gpt-5, answered by gpt-5-2025-08-07'
    """
    about = cell.get("language_model") or {}
    others = [name for name in about.get("answered_by", ()) if name != about["name"]]
    answers = f"answered by {', '.join(others)}" if others else ""
    return ", ".join(filter(None, (about.get("name"), answers)))


def _joined(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))
