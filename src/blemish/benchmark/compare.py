"""`blemish compare`: two runs over the same pictures, and whether they differ.

Differences are B - A. Their interval is a paired bootstrap: pictures are drawn with replacement,
as many normal and as many anomalous ones as there are, the same for both runs, 2000 times; the
interval holds the middle 95 % of the differences (percentiles). Of a benchmark, pictures are drawn
within each category, figures are averaged over seeds and then over categories.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np

from blemish.benchmark import bootstrap, reader
from blemish.benchmark.bootstrap import Floats, Unit
from blemish.benchmark.reader import Ran
from blemish.benchmark.table import shots_words
from blemish.benchmark.table_layout import title
from blemish.errors import InputError, UndefinedMetricError
from blemish.runs.folder import Row

DRAWS = 2000
LEVEL = 0.95


@dataclass(frozen=True)
class Difference:
    """A figure of both runs, in [0, 1].

    Attributes:
        about: data set and shots; "" for single runs.
        figure: "image AUROC" or "accuracy".
        a: the first run's.
        b: the second run's.
        low: lower end of the interval of b - a.
        high: its upper end.
        pictures: that were compared.
        note: what was left out.
    """

    about: str
    figure: str
    a: float
    b: float
    low: float
    high: float
    pictures: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class Pair:
    """One picture in both runs.

    Attributes:
        a: the first run.
        b: the second run.
        row_a: of the picture in `a`.
        row_b: of the picture in `b`.
        label: the truth; None where it is not known.
    """

    a: Ran
    b: Ran
    row_a: Row
    row_b: Row
    label: str | None

    @property
    def change(self) -> str:
        """How the verdict changed: "better", "worse" or "other"; "" where it is the same."""
        before, after = self.row_a["verdict"], self.row_b["verdict"]
        if before == after or not (self.a.has_verdicts and self.b.has_verdicts):
            return ""
        if self.label is None or self.label not in (before, after):
            return "other"
        return "better" if after == self.label else "worse"


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes:
        a: the first run, in words.
        b: the second run, in words.
        differences: of the figures that the labels allow.
        undefined: why a figure is missing.
        pairs: every picture that is in both.
        left_out: what is not compared, in words, and how many.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    undefined: tuple[str, ...]
    pairs: tuple[Pair, ...]
    left_out: dict[str, int]

    @property
    def changed(self) -> list[Pair]:
        """Pictures that changed sides: worse ones, better ones, others."""
        order = ("worse", "better", "other")
        moved = [pair for pair in self.pairs if pair.change]
        return sorted(moved, key=lambda pair: (order.index(pair.change), pair.row_a["id"]))

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures changed sides, and how."""
        found = Counter(pair.change for pair in self.pairs)
        return {name: found[name] for name in ("better", "worse", "other")}


def compare(a: Path, b: Path, *, seed: int = 0, draws: int = DRAWS) -> Comparison:
    """Compare two run folders, or two benchmarks cell by cell.

    Args:
        a: the first.
        b: the second.
        seed: of the bootstrap.
        draws: of the bootstrap.

    Raises:
        InputError: one is no run, or they share no cell or no picture.
        SavedError: one is of another version, or damaged.
    """
    firsts, seconds = reader.read(a), reader.read(b)
    cells = list(_cells(firsts, seconds, a, b))
    left_out: Counter[str] = Counter()
    left_out["cells only in A"] = len(firsts) - len(cells)
    left_out["cells only in B"] = len(seconds) - len(cells)
    paired = [(one, other, _pairs(one, other, left_out)) for one, other in cells]
    pairs = [pair for _, _, found in paired for pair in found]
    if not pairs:
        raise InputError(
            f"{a} and {b} have no picture in common: none has the same content in both. Compare "
            "runs over the same pictures."
        )
    differences: list[Difference] = []
    undefined: list[str] = []
    for about, some in _groups(paired):
        for figure, measure in (("image AUROC", bootstrap.auroc), ("accuracy", bootstrap.accuracy)):
            try:
                rng = np.random.default_rng(seed)
                differences.append(_difference(about, figure, some, measure, rng, draws))
            except UndefinedMetricError as why:
                undefined.append(f"{figure}{', ' * bool(about)}{about}: {why}")
    return Comparison(
        _name(a, firsts),
        _name(b, seconds),
        tuple(differences),
        tuple(undefined),
        tuple(pairs),
        {why: count for why, count in left_out.items() if count},
    )


def _difference(
    about: str,
    figure: str,
    cells: Sequence[tuple[Hashable, Sequence[Pair]]],
    measure: Callable[[Unit, int, np.random.Generator], tuple[float, float, Floats]],
    rng: np.random.Generator,
    draws: int,
) -> Difference:
    """One figure, averaged over the categories that define it."""
    found, pictures, reasons = [], 0, []
    units = _units(cells)
    for unit in units:
        try:
            found.append(measure(unit, draws, rng))
            pictures += unit.anomalous.size
        except UndefinedMetricError as why:
            reasons.append(str(why))
    if not found:
        raise UndefinedMetricError(reasons[0] if reasons else "no picture has a label")
    note = f"{len(found)} of {len(units)} categories" if len(found) < len(units) else ""
    moved = np.mean([each for _, _, each in found], axis=0)
    low, high = np.quantile(moved, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    a, b = (fmean(one[place] for one in found) for place in (0, 1))
    return Difference(about, figure, a, b, float(low), float(high), pictures, note)


def _units(cells: Sequence[tuple[Hashable, Sequence[Pair]]]) -> list[Unit]:
    """Cells of one category together; a picture counts where it is labelled and in all of them."""
    together: dict[Hashable, list[dict[str, Pair]]] = defaultdict(list)
    for category, pairs in cells:
        together[category].append({pair.row_a["id"]: pair for pair in pairs if pair.label})
    units = []
    for seeds in together.values():
        names = sorted(set.intersection(*(set(seed) for seed in seeds)))
        if names:
            units.append(_unit([[seed[name] for name in names] for seed in seeds]))
    return units


def _unit(seeds: Sequence[Sequence[Pair]]) -> Unit:
    """Pairs, seed by seed, as arrays."""
    labels = np.array([pair.label for pair in seeds[0]])
    scores, right = [], []
    for rows in (
        [[pair.row_a for pair in pairs] for pairs in seeds],
        [[pair.row_b for pair in pairs] for pairs in seeds],
    ):
        scores.append(np.array([[_score(row) for row in seed] for seed in rows], np.float64))
        said = np.array([[row["verdict"] for row in seed] for seed in rows])
        right.append(said == labels)
    decided = all(pair.a.has_verdicts and pair.b.has_verdicts for pairs in seeds for pair in pairs)
    verdicts = (right[0], right[1]) if decided else None
    return Unit(labels == "anomalous", (scores[0], scores[1]), verdicts)


def _score(row: Row) -> float:
    return float("nan") if row["raw_score"] is None else float(row["raw_score"])


def _cells(
    firsts: Sequence[Ran], seconds: Sequence[Ran], a: Path, b: Path
) -> Iterator[tuple[Ran, Ran]]:
    """Runs that belong together: by data set, category, shots and seed, and method if need be.

    Shots and seed need not be the same where each benchmark has one alone.
    """
    if len(firsts) == len(seconds) == 1:
        yield firsts[0], seconds[0]
        return
    for path, runs in ((a, firsts), (b, seconds)):
        if not all(ran.cell for ran in runs):
            raise InputError(f"{path} is a single run, the other a benchmark. Compare like things.")

    def single(name: str) -> bool:
        """Whether both have one value alone, so that it tells nothing apart."""
        return all(len({ran.cell[name] for ran in runs}) == 1 for runs in (firsts, seconds))

    names = ["data", "category", *(name for name in ("shots", "seed") if not single(name))]
    for runs in (firsts, seconds):
        if len({tuple(ran.cell[name] for name in names) for ran in runs}) < len(runs):
            names = ["data", "category", "shots", "seed", "method"]
    known = {tuple(ran.cell[name] for name in names): ran for ran in seconds}
    matched = [(ran, known.get(tuple(ran.cell[name] for name in names))) for ran in firsts]
    if not any(other for _, other in matched):
        raise InputError(
            f"{a} and {b} have no cell in common (by {', '.join(names)}). A benchmark of several "
            "methods is compared with one that has the same; two methods of one benchmark are "
            "compared cell by cell: give the folders below cells/."
        )
    yield from ((ran, other) for ran, other in matched if other)


def _pairs(a: Ran, b: Ran, left_out: Counter[str]) -> list[Pair]:
    """Pictures with the same content; the id decides where several have it."""
    by_content: dict[str, list[Row]] = defaultdict(list)
    for row in b.rows.values():
        by_content[row["sha256"]].append(row)
    found: list[Pair] = []
    used: set[str] = set()
    for name, row in a.rows.items():
        same = by_content[row["sha256"]]
        other = next((one for one in same if one["id"] == name), None)
        if other is None and len(same) == 1 and same[0]["id"] not in a.rows:
            other = same[0]
        if other is None:
            changed = name in b.rows
            left_out["pictures with another content in B" if changed else "pictures only in A"] += 1
            continue
        used.add(other["id"])
        found.append(Pair(a, b, row, other, a.label(name) or b.label(other["id"])))
    left_out["pictures only in B"] += sum(
        name not in used and name not in a.rows for name in b.rows
    )
    left_out["pictures failed in A"] += a.failed
    left_out["pictures failed in B"] += b.failed
    left_out["pictures without a label"] += sum(pair.label is None for pair in found)
    return found


def _groups(
    paired: Sequence[tuple[Ran, Ran, list[Pair]]],
) -> Iterator[tuple[str, list[tuple[Hashable, list[Pair]]]]]:
    """Cells of one data set, number of shots and method together: their figures are averaged."""
    groups: dict[str, list[tuple[Hashable, list[Pair]]]] = defaultdict(list)
    several = len({a.method for a, _, _ in paired}) > 1
    for a, b, pairs in paired:
        about = ""
        if len(paired) > 1:
            shots = dict.fromkeys(shots_words(ran.cell["shots"]) for ran in (a, b))
            about = f"{title(a.cell['data'])}, {' against '.join(shots)}"
            about += f", {a.method}" if several else ""
        groups[about].append((a.category, pairs))
    yield from groups.items()


def _name(path: Path, runs: Sequence[Ran]) -> str:
    methods = list(dict.fromkeys(ran.method for ran in runs))
    return f"{', '.join(methods)} ({path})"
