"""Rows of a table as blocks of text, for a page (`table_files`) and for a screen (`table_screen`).

Means: methods are rows, and shots or figures are columns. Categories: they are the rows, and
methods or shots are columns, since data sets have up to thirty of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from blemish.benchmark.averages import Cell, Row, answered
from blemish.benchmark.table import Table, shots_order, shots_words
from blemish.datasets.published import table as known_sets

_R = TypeVar("_R")
_T = TypeVar("_T")
NAMES = {
    "image_auroc": "image AUROC",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max (oracle)",
    "pixel_auroc": "pixel AUROC",
    "pixel_ap": "pixel AP",
    "pixel_f1_max": "pixel F1-max (oracle)",
    "au_pro": "AU-PRO",
    "spro": "sPRO",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "ece": "calibration error",
    "score_spread": "spread of the image score",
}
"""What people call a metric, where it is not the name itself."""
GROUPS = {
    "image level": ("image_auroc", "image_ap", "image_f1_max"),
    "pixel level": ("pixel_auroc", "pixel_ap", "pixel_f1_max", "au_pro", "spro"),
    "verdicts": ("accuracy", "balanced_accuracy", "precision", "recall", "f1"),
    "verdicts that went wrong": ("overkill", "miss", "unsure", "coverage"),
    "scores, answers and cost": (
        *("ece", "agreement", "score_spread", "latency", "throughput", "parameters", "flops"),
    ),
}
LEGEND = (
    "In per cent unless a unit stands there. Ours is the mean over seeds ± its standard deviation. "
    "A mean over categories says of how many it is where some are missing, and then has no "
    "difference, which is ours - published."
)

ASKED_LEGEND = (
    "Calls, tokens and cost are what was paid; an answer from the cache adds nothing. Without a "
    "score a picture is in no figure of the image level, without a map in none of the pixel level; "
    "unsure is never right."
)


PROMPTS_LEGEND = "Who wrote what methods compare pictures with, beside the texts of a template."


@dataclass(frozen=True)
class Block:
    """A part of the table, as text.

    Attributes:
        title: what it shows.
        head: of its columns; the first `words` columns hold words, the others figures.
        lines: as many cells each.
        words: see `head`.
    """

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    words: int


def name(metric: str) -> str:
    """What people call a metric."""
    return NAMES.get(metric, metric.replace("_", " "))


def title(data: str) -> str:
    """What people call a data set."""
    return next((known.title for known in known_sets() if known.name == data), data)


def means(table: Table) -> list[Block]:
    """Blocks a data set: one of a single method, else one a figure or group of figures."""
    blocks = []
    for data, found in _by(table.averaged, lambda row: row.data):
        rows = sorted((row for row in found if row.level == "mean"), key=_metric_order)
        if len({row.method for row in rows}) == 1:
            about = f"{title(data)}: {rows[0].method}"
            blocks.append(_means(about, "figure", rows, _measure, _shots))
        elif len({row.shots for row in rows}) > 1:
            for measure, some in _by(rows, _measure):
                about = f"{title(data)}: {measure}"
                blocks.append(_means(about, "method", some, lambda row: row.method, _shots))
        else:
            for group, some in _by(rows, _group):
                about = f"{title(data)}: {group}, {_shots(some[0])}"
                blocks.append(_means(about, "method", some, lambda row: row.method, _measure))
    return blocks


def categories(table: Table) -> list[Block]:
    """Blocks a data set: one a group of figures, one a figure, or one a figure and method.

    A set of one category has none: its mean says it all.
    """
    blocks = []
    for data, found in _by(table.averaged, lambda row: row.data):
        single = [row for row in found if row.level == "category"]
        if len({row.category for row in single}) == 1:
            continue
        detailed = {(row.method, row.metric) for row in single}
        rows = [row for row in found if (row.method, row.metric) in detailed]
        if len({(row.method, row.shots) for row in rows}) == 1:
            for group, some in _by(sorted(rows, key=_metric_order), _group):
                about = f"{title(data)}: {group}, {some[0].method}, {_shots(some[0])}"
                blocks.append(_categories(about, some, _measure))
            continue
        several = len({row.shots for row in rows}) > 1
        for measure, alike in _by(rows, _measure):
            about = f"{title(data)}: {measure}"
            if not several:
                about += f", {_shots(alike[0])}"
                blocks.append(_categories(about, alike, lambda row: row.method))
                continue
            for method, own in _by(alike, lambda row: row.method):
                blocks.append(_categories(f"{about}, {method}", own, _shots))
    return blocks


ASKED = {
    "pictures": ("language_model", "pictures"),
    "calls": ("language_model", "model_calls"),
    "tokens in": ("language_model", "tokens_in"),
    "tokens out": ("language_model", "tokens_out"),
    "cost": ("language_model", "cost"),
    "unsure": ("language_model", "unsure"),
    "refused": ("language_model", "refused"),
    "unreadable": ("language_model", "unparsed"),
    "no score": ("counts", "without_score"),
    "no map": ("counts", "without_map"),
}
"""Columns about a language model, and where in a cell's record they stand."""


def asked(table: Table) -> list[Block]:
    """What was asked of language models and paid now, summed over categories and seeds."""
    blocks = []
    told = [cell for cell in table.cells if cell.get("language_model")]
    for data, found in _by(told, lambda cell: cell["cell"]["data"]):
        lines = []
        for (method, shots), cells in _by(
            found, lambda cell: (cell["cell"]["method"], cell["cell"]["shots"])
        ):
            sums = [sum(cell[part].get(name, 0) for cell in cells) for part, name in ASKED.values()]
            names = "; ".join(dict.fromkeys(map(answered, cells)))
            words = (f"{method}, {shots_words(shots)}", names)
            lines.append((*words, *(f"{value:,.6g}" for value in sums)))
        head = ("method", "language model", *ASKED)
        blocks.append(Block(f"{title(data)}: what was asked", head, tuple(lines), 2))
    return blocks


def prompts(table: Table) -> list[str]:
    """Methods, and who wrote the texts that they compare pictures with."""
    by: dict[str, dict[str, None]] = {}
    for cell in table.cells:
        for writer in cell.get("prompts", ()):
            by.setdefault(writer, {})[cell["cell"]["method"]] = None
    return [f"{'; '.join(methods)}: {writer}" for writer, methods in by.items()]


def left_out(cell: Cell) -> list[str]:
    """What to say of pictures that a cell judged, and that are not in all of its figures."""
    counts = cell.get("counts", {})
    said = []
    if count := counts.get("without_score"):
        said.append(f"{count} without a score, not in the figures of the image level")
    if counts.get("pixels") and (count := counts.get("without_map")):
        said.append(f"{count} without a map, not in the figures of the pixel level")
    return said


def number(value: float | None, row: Row, *, sign: bool = False) -> str:
    """A figure as text: one decimal in per cent, three digits else; "–" for none."""
    if value is None:
        return "–"
    plain = f"{value:+.1f}" if row.unit == "%" else f"{value:+.3g}"
    return plain if sign else plain.lstrip("+")


def _means(
    about: str,
    heading: str,
    rows: Sequence[Row],
    line_of: Callable[[Row], str],
    column_of: Callable[[Row], str],
) -> Block:
    """Ours, published and difference below each other."""
    columns = dict.fromkeys(map(column_of, sorted(rows, key=lambda row: shots_order(row.shots))))
    lines = []
    for name_, own in _by(rows, line_of):
        at = {column_of(row): row for row in own}
        said = name_
        for what in ("ours", "published", "difference"):
            texts = tuple(_text(at[column], what) if column in at else "–" for column in columns)
            if {*texts} == {"–"} and not (what == "ours" and any(row.note for row in own)):
                continue
            lines.append((said, _label(own[0], what), *texts))
            said = ""
    if all(line[1] == "ours" for line in lines):
        return Block(about, (heading, *columns), tuple((line[0], *line[2:]) for line in lines), 1)
    return Block(about, (heading, "", *columns), tuple(lines), 2)


def _categories(about: str, rows: Sequence[Row], of: Callable[[Row], str]) -> Block:
    """Categories as rows; columns for what `of` tells apart, and their published figures."""
    head, columns = ["category"], []
    for label, own in _by(rows, of):
        for what in ("ours", "published", "difference"):
            # What is published of the mean alone stands in the table of means.
            if any(_text(row, what) != "–" for row in own if what == "ours" or row.level != "mean"):
                head.append(label if what == "ours" else f"{label}, {_label(own[0], what)}")
                columns.append((label, what))
    lines = []
    for category, here in _by(rows, lambda row: row.category):
        at = {of(row): row for row in here}
        texts = (_text(at[label], what) if label in at else "–" for label, what in columns)
        lines.append((category, *texts))
    return Block(about, tuple(head), tuple(sorted(lines, key=lambda one: one[0] == "mean")), 1)


def _label(row: Row, what: str) -> str:
    """What a published figure stands for where there is none of ours beside it."""
    if what != "published" or row.detector:
        return what
    return "published only" if row.quoted else "published, not run"


def _text(row: Row, what: str) -> str:
    if what == "difference":
        return number(row.difference, row, sign=True)
    value, spread = (
        (row.ours, row.spread) if what == "ours" else (row.published, row.published_spread)
    )
    text = number(value, row)
    if spread is not None and value is not None:
        text += f" ± {number(spread, row)}"
    if what == "ours" and value is not None and row.counted < row.of:
        text += f" ({row.counted} of {row.of})"
    return text


def _measure(row: Row) -> str:
    """A metric with its unit, unless that is per cent."""
    return name(row.metric) + (f" [{row.unit}]" if row.unit not in ("", "%") else "")


def _shots(row: Row) -> str:
    return shots_words(row.shots)


def _group(row: Row) -> str:
    return next((group for group, metrics in GROUPS.items() if row.metric in metrics), "other")


def _metric_order(row: Row) -> int:
    order = [metric for metrics in GROUPS.values() for metric in metrics]
    return order.index(row.metric) if row.metric in order else len(order)


def _by(rows: Iterable[_R], of: Callable[[_R], _T]) -> Iterator[tuple[_T, list[_R]]]:
    """Rows that are alike, in the order in which the first of each comes."""
    groups: dict[_T, list[_R]] = {}
    for row in rows:
        groups.setdefault(of(row), []).append(row)
    return iter(groups.items())
