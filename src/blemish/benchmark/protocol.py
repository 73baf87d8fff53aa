"""A protocol: one table of a paper as data, with what was run and the figures it printed.

The files lie in `protocols/<document>/<table>.json`; `load("004/table1")` reads one.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blemish.errors import OptionError, nearest

Metric = Literal[
    "image_auroc", "image_ap", "image_f1_max",
    "pixel_auroc", "pixel_ap", "pixel_f1_max", "au_pro", "spro",
    "accuracy", "balanced_accuracy", "precision", "recall", "f1",
    "overkill", "miss", "unsure", "ece", "agreement", "score_spread", "latency",
    "parameters", "flops", "throughput",
]  # fmt: skip


class _Data(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Run(_Data):
    """One method of the table that this project can run, or that it only quotes.

    Attributes:
        method: its name as the document prints it, the ablated part included; unique.
        detector: a registered detector; None for a method that is only quoted.
        data: the data sets of the protocol that it takes part in; all where empty.
        options: of the detector, encoder and language model included.
        shots: normal references a category; 0 for none, None for all training pictures.
        seeds: of the draws of references.
        train_on: what a trained adapter was made from: a data set's name; None for none.
        adapter: what that adapter has and how it was trained, named as in its adapter.json, such as
            {"enhancer": true}; as `blemish.benchmark.adapters.PLAIN` has it where it is not named.
        unified: one model for all classes of a set, as 002 and 003 train.
        threshold: what turns scores into verdicts for the accuracy: the detector's "own" verdict,
            the "max-of-normals" (the highest score of the references, left out in turn), one
            "unified" threshold for all categories or the "best" one for each (both look at the
            test labels: oracles).
        perturb: changes to the test pictures: "light", "occlusion".
        published_by: a short citation of a method that is only quoted.
    """

    method: str
    detector: str | None = None
    data: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default_factory=dict)
    shots: tuple[int | None, ...] = (0,)
    seeds: tuple[int, ...] = (0,)
    train_on: str | None = None
    adapter: dict[str, bool | int | str] = Field(default_factory=dict)
    unified: bool = False
    threshold: Literal["own", "max-of-normals", "unified", "best"] = "own"
    perturb: tuple[Literal["light", "occlusion"], ...] = ()
    published_by: str = ""


class Published(_Data):
    """One figure as a document prints it.

    Attributes:
        method: a `Run.method`.
        data: a data set's name.
        category: of the data set, or a group of `Protocol.groups`, or "mean".
        shots: as in `Run`.
        metric: which figure.
        value: as printed; per cent unless `Protocol.units` says otherwise.
        spread: what is printed after ±, in the same unit.
    """

    method: str
    data: str
    category: str = "mean"
    shots: int | None = 0
    metric: Metric
    value: float
    spread: float | None = None


class Protocol(_Data):
    """One table of a document.

    Attributes:
        id: document and table, such as "004/table1".
        title: what the table shows, in our words.
        source: document, arXiv number and table.
        data: the data sets, by their names in `datasets/published.json`; () for one that the user
            names.
        categories: the categories that take part, where not all do.
        metrics: the columns.
        au_pro_limit: false positive rate up to which AU-PRO is taken.
        runs: the methods, in the table's order.
        groups: data set to group name to categories: means as the document prints them.
        units: metric to unit, where it is not per cent.
        curve: the accuracy is also drawn against the threshold.
        published: every figure of the table.
        unclear: where the document leaves something open, and the reading taken.
    """

    id: str
    title: str
    source: str
    data: tuple[str, ...]
    categories: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    metrics: tuple[Metric, ...]
    au_pro_limit: float = Field(0.3, gt=0, le=1)
    runs: tuple[Run, ...]
    groups: dict[str, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    units: dict[Metric, str] = Field(default_factory=dict)
    curve: bool = False
    published: tuple[Published, ...] = ()
    unclear: tuple[str, ...] = ()


def names() -> tuple[str, ...]:
    """The protocols that ship with the package, such as "004/table1"."""
    folder = files("blemish.benchmark").joinpath("protocols")
    found = [
        f"{document.name}/{table.name.removesuffix('.json')}"
        for document in folder.iterdir()
        if document.is_dir()
        for table in document.iterdir()
        if table.name.endswith(".json")
    ]
    return tuple(sorted(found))


def load(name: str) -> Protocol:
    """One protocol by its name.

    Raises:
        OptionError: there is none of that name, or its file is wrong.
    """
    if name not in names():
        raise OptionError(f"There is no protocol '{name}'. {nearest(name, names())}")
    document, table = name.split("/")
    file = files("blemish.benchmark").joinpath("protocols", document, f"{table}.json")
    try:
        return Protocol.model_validate_json(file.read_text("utf-8"))
    except ValidationError as cause:
        raise OptionError(f"The protocol {name} cannot be read: {cause}") from cause
