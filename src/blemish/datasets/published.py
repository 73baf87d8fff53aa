"""What the publishers of data sets say of them, as data: `published.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from blemish.errors import OptionError, nearest


@dataclass(frozen=True)
class PublishedSet:
    """A data set as its publisher gives it.

    Attributes:
        name: as `Dataset.name`.
        title: for people.
        licence: of its pictures, as far as is known.
        source: where the counts are from, and how sure they are.
        counts: category to split to (normal, anomalous) pictures. The category "*" stands for all
            together, the split "all" for a set without splits.
        categories: known ones.
        note: what a user should know.
    """

    name: str
    title: str
    licence: str
    source: str
    counts: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    categories: tuple[str, ...] = ()
    note: str = ""


def published(name: str) -> PublishedSet:
    """What is published of one data set.

    Raises:
        OptionError: no such data set.
    """
    rows = _table()
    if name not in rows:
        raise OptionError(f"There is no data set {name!r}. {nearest(name, rows)}")
    return rows[name]


def table() -> tuple[PublishedSet, ...]:
    """All data sets that blemish knows."""
    return tuple(_table().values())


@cache
def _table() -> dict[str, PublishedSet]:
    text = files("blemish.datasets").joinpath("published.json").read_text("utf-8")
    return {name: _row(name, row) for name, row in json.loads(text).items()}


def _row(name: str, row: dict[str, Any]) -> PublishedSet:
    counts = {
        category: {split: (normal, anomalous) for split, (normal, anomalous) in splits.items()}
        for category, splits in row.get("counts", {}).items()
    }
    categories = row.get("categories") or [category for category in counts if category != "*"]
    return PublishedSet(name, **row | {"counts": counts, "categories": tuple(categories)})
