"""What `blemish bench` is about to run: a protocol or a free combination, cell by cell.

Making a plan reads no picture and loads no model; what cannot run here is in it too, with the
reason in words.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blemish import registry
from blemish.benchmark import possible
from blemish.benchmark.cell import Cell
from blemish.benchmark.protocol import Protocol, Run
from blemish.datasets.model import Dataset, Item
from blemish.datasets.published import published
from blemish.errors import DatasetError, ReferencesError, nearest

FREE_METRICS = (
    *("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "pixel_ap", "pixel_f1_max"),
    *("au_pro", "accuracy", "balanced_accuracy", "precision", "recall", "f1"),
    *("overkill", "miss", "unsure", "ece"),
)
"""Of a free combination; `free` adds sPRO for MVTec LOCO and, where it can be told, latency."""


@dataclass(frozen=True)
class Plan:
    """What is to be run.

    Attributes:
        protocol: its id; None for a free combination.
        title: for a person.
        cells: category by category.
        datasets: by name.
        metrics: that the table shows.
        quoted: methods that are only quoted.
        unavailable: method and why it cannot run here, in words.
        notes: what else a person should know, such as shots that were left out.
        au_pro_limit: as in `Protocol`.
        curve: as in `Protocol`.
        limit: most test pictures of each category and label; None for all.
    """

    protocol: str | None
    title: str
    cells: tuple[Cell, ...]
    datasets: Mapping[str, Dataset]
    metrics: tuple[str, ...]
    quoted: tuple[Run, ...] = ()
    unavailable: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    au_pro_limit: float = 0.3
    curve: bool = False
    limit: int | None = None

    @property
    def remembers(self) -> bool:
        """Whether features are kept between cells; not where latency is asked for."""
        return "latency" not in self.metrics

    @property
    def asks(self) -> bool:
        """Whether a language model that is given is asked."""
        return any(possible.asks(cell.detector, cell.options) for cell in self.cells)

    def items(self, cell: Cell) -> tuple[Item, ...]:
        """The test pictures of a cell whose truth is known, but for its `examples`."""
        shown = self.examples(cell)
        every = _judged(self.datasets[cell.data], cell.category)
        return tuple(item for item in every if item not in shown)

    def examples(self, cell: Cell) -> tuple[Item, ...]:
        """The labelled anomalous pictures that a cell's detector is shown (option examples).

        The seed draws them from the test pictures: of most sets no others are anomalous.

        Raises:
            ReferencesError: there is none left to judge.
        """
        wanted = cell.options.get("examples", 0)
        if not (isinstance(wanted, int) and wanted > 0):
            return ()
        every = _judged(self.datasets[cell.data], cell.category)
        pool = [item for item in every if item.label == "anomalous"]
        if wanted >= len(pool):
            raise ReferencesError(
                f"{cell.data} has {len(pool)} anomalous test pictures of {cell.category}, of "
                f"which {wanted} are to be shown as examples: none is left to judge. Show fewer."
            )
        return tuple(sorted(pool, key=lambda item: _drawn(cell.seed, item))[:wanted])

    def references(self, cell: Cell) -> tuple[Item, ...]:
        """The normal pictures that a cell's detector learns from.

        Raises:
            ReferencesError: fewer training pictures than shots.
        """
        dataset = self.datasets[cell.data]
        if registry.detector(cell.detector).needs == "folder":
            return self.items(cell)
        categories = dataset.categories if cell.unified else (cell.category,)
        return tuple(
            item
            for category in categories
            for item in (
                dataset.select(category, "train", "normal")
                if cell.shots is None
                else dataset.references(category, cell.shots, cell.seed)
            )
        )

    def models(self, cell: Cell) -> tuple[str, ...]:
        """The models that a cell's detector is built with, by name; but for chat models."""
        found = [named(cell.detector, cell.options) for named in possible.MODELS]
        return tuple(filter(None, (*found, cell.options.get("segmenter"))))

    def limited(self, count: int) -> Plan:
        """The same plan on at most so many test pictures of each category and label."""
        small = {name: dataset.limited(count) for name, dataset in self.datasets.items()}
        return replace(self, datasets=small, limit=count)

    def without(self, part: str, why: str) -> Plan:
        """The same plan where a part that is named so turned out not to be at hand."""
        lost = [cell for cell in self.cells if part in self.models(cell)]
        unavailable = ((method, why) for method in dict.fromkeys(cell.method for cell in lost))
        left = tuple(cell for cell in self.cells if cell not in lost)
        return replace(self, cells=left, unavailable=(*self.unavailable, *unavailable))


def of_protocol(
    protocol: Protocol,
    datasets: Mapping[str, Dataset],
    *,
    seeds: Sequence[int] | None = None,
    categories: Sequence[str] = (),
    encoders: Collection[str] = (),
    language_model: bool = False,
) -> Plan:
    """The plan of a protocol.

    Args:
        protocol: to run.
        datasets: by the names that the protocol uses; any, where it runs on any.
        seeds: in place of the protocol's.
        categories: those to run; all of the protocol's where empty.
        encoders: names beyond the registry's that the caller brings along.
        language_model: the caller brings one along.

    Raises:
        DatasetError: a data set is missing, or has none of the categories.
        ReferencesError: a category has fewer training pictures than shots.
    """
    if not protocol.data:
        protocol = protocol.model_copy(update={"data": tuple(datasets)})
    for name in protocol.data:
        if name not in datasets:
            raise DatasetError(
                f"{protocol.id} runs on {name}, which is not there. Found: "
                f"{', '.join(sorted(datasets)) or 'no data set'}."
            )
    chosen = {
        name: _chosen(datasets[name], protocol.categories.get(name, ()), categories)
        for name in protocol.data
    }
    known = (protocol.data, encoders, language_model)
    reasons = {run.method: possible.lacking(run, *known) for run in protocol.runs}
    runs = [run for run in protocol.runs if run.detector and not reasons[run.method]]
    cells: list[Cell] = []
    for name in protocol.data:
        for category in chosen[name]:
            for run in runs:
                if name in (run.data or protocol.data):
                    cells += _cells(run, datasets[name], category, seeds or run.seeds)
    notes = (_partial(datasets[name], protocol, chosen[name]) for name in protocol.data)
    return Plan(
        protocol.id,
        protocol.title,
        tuple(cells),
        {name: datasets[name] for name in protocol.data},
        tuple(protocol.metrics),
        tuple(run for run in protocol.runs if not run.detector),
        tuple((method, why) for method, why in reasons.items() if why),
        tuple(filter(None, notes)),
        protocol.au_pro_limit,
        protocol.curve,
    )


def free(
    detector: str,
    dataset: Dataset,
    shots: Sequence[int | None] | None = None,
    seeds: Sequence[int] = (0,),
    options: Mapping[str, Any] | None = None,
    categories: Sequence[str] = (),
) -> Plan:
    """The plan of a detector on a data set.

    Args:
        detector: a registered name.
        dataset: to run it on.
        shots: numbers of references, None for all training pictures; without, what the detector
            needs at least.
        seeds: of the draws.
        options: of the detector, encoder included.
        categories: those to run; all where empty.

    Raises:
        OptionError: an unknown detector, or no number of shots that it can run with.
        DatasetError: a category is not there, or none has labelled test pictures.
        ReferencesError: a category has fewer training pictures than shots.
    """
    entry = registry.detector(detector)
    numbers, note = possible.shots(entry, shots, options or {})
    run = Run(
        method=entry.name,
        detector=entry.name,
        options=dict(options or {}),
        shots=tuple(numbers),
        seeds=tuple(seeds),
    )
    cells = [
        cell
        for category in _chosen(dataset, (), categories)
        for cell in _cells(run, dataset, category, run.seeds)
    ]
    more = ["spro"] if dataset.saturations else []
    more += ["latency"] if len(run.shots) * len(run.seeds) == 1 else []
    title = f"{entry.name} on {published(dataset.name).title}"
    notes = (note,) if note else ()
    metrics = (*FREE_METRICS, *more)
    return Plan(None, title, tuple(cells), {dataset.name: dataset}, metrics, notes=notes)


def _cells(run: Run, dataset: Dataset, category: str, seeds: Sequence[int]) -> Iterator[Cell]:
    for shots in run.shots:
        if shots:
            dataset.references(category, shots, 0)  # raises where there are too few
        for seed in seeds:
            yield Cell(
                dataset.name,
                category,
                run.method,
                str(run.detector),
                run.options,
                shots,
                seed,
                run.unified,
                run.train_on,
                run.threshold,
                run.perturb,
            )


def _chosen(dataset: Dataset, wanted: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """The categories to run: those that have labelled test pictures."""
    unknown = [name for name in asked if name not in dataset.categories]
    if unknown:
        raise DatasetError(
            f"{dataset.root} has no category '{unknown[0]}'. "
            f"{nearest(unknown[0], dataset.categories)}"
        )
    chosen = tuple(
        category
        for category in dataset.categories
        if category in (asked or wanted or dataset.categories) and _judged(dataset, category)
    )
    if not chosen:
        raise DatasetError(
            f"{dataset.root} has no labelled test pictures of "
            f"{', '.join(asked or wanted) or 'any category'}. "
            f"`blemish datasets check {dataset.root}` says what it holds."
        )
    return chosen


def _drawn(seed: int, item: Item) -> str:
    return hashlib.sha256(f"{seed}:{item.id}".encode()).hexdigest()


def _judged(dataset: Dataset, category: str) -> tuple[Item, ...]:
    return tuple(item for item in dataset.select(category, "test") if item.label is not None)


def _partial(dataset: Dataset, protocol: Protocol, chosen: Sequence[str]) -> str:
    """What to say where not all of a table's categories run: its means are of others."""
    expected = protocol.categories.get(dataset.name) or published(dataset.name).categories
    left_out = [category for category in expected if category not in chosen]
    if not left_out:
        return ""
    return (
        f"{dataset.name}: {len(chosen)} of {len(expected)} categories run, without "
        f"{', '.join(left_out)}; the published means are of all."
    )
