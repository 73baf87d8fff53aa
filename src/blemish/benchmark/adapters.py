"""Adapters that a person brings for a table's rows: what their adapter.json says they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blemish import registry
from blemish.benchmark.protocol import Protocol, Run
from blemish.errors import OptionError, SavedError

_FILE = "adapter.json"
_BEFORE = "; before that, "
_NOT_TOLD = ("", "what is not told", "as published")

PLAIN: Mapping[str, Any] = {
    "enhancer": False,
    "fusion": False,
    "apg": False,
    "staged": False,
    "anomalies": "nsa",
}
"""What an adapter may have and how it may be trained, as its adapter.json calls it, and what one is
like that does not say. A row wants it so too, but for what its `Run.adapter` names."""


@dataclass(frozen=True)
class Adapter:
    """An adapter, as `blemish.detectors._adapter.AdapterConfig` describes it.

    Attributes:
        folder: where it lies.
        kind: the detector that it belongs to.
        encoder: its name.
        language_model: its name; "" where any of the right width will do.
        trained_on: what it was trained on, in words that begin with the data set's name and a
            colon; what it was trained on before that follows in the same way.
        lora: the language model's weights were changed in the same training.
        left_out: parts of the detector that it was trained without, as their options are called.
        made: what it has and how it was trained, see `PLAIN`.
    """

    folder: Path
    kind: str
    encoder: str
    language_model: str
    trained_on: str
    lora: bool = False
    left_out: tuple[str, ...] = ()
    made: Mapping[str, Any] = field(default_factory=lambda: PLAIN)

    @property
    def data(self) -> tuple[str, ...]:
        """The data sets that it was trained on, by name, the last first; () where that is not told.

        >>> Adapter(Path("a"), "k", "e", "m", "visa: 9 pictures; before that, made-up parts").data
        ('visa', 'made-up parts')
        """
        names = (part.partition(":")[0].strip() for part in self.trained_on.split(_BEFORE))
        return tuple(name for name in names if name not in _NOT_TOLD)


def read(folder: Path) -> Adapter:
    """What an adapter says of itself; its tensors are not read.

    Raises:
        SavedError: it is none.
    """
    from blemish.benchmark.folder import read_json

    found = read_json(folder / _FILE)
    if found is None or not {"kind", "encoder", "language_model"} <= found.keys():
        raise SavedError(
            f"--adapter {folder} is no adapter: its {_FILE} is not there, or says not what it "
            "fits. Name a folder that `blemish train` or `blemish weights import` wrote."
        )
    published = found.get("prompt_learner") == "published"
    return Adapter(
        folder,
        found["kind"],
        found["encoder"],
        "" if published else found["language_model"],
        found.get("trained_on", ""),
        (folder / "lora").is_dir() and (found.get("tuned", False) or not published),
        tuple(found.get("left_out", ())),
        {name: found.get(name, usual) for name, usual in PLAIN.items()},
    )


def shipped(detector: str) -> tuple[Adapter, ...]:
    """The adapter that comes with a detector; () where none does."""
    folder: Path = registry.resolve(registry.detector(detector).options)().folder
    return (read(folder),) if (folder / _FILE).is_file() else ()


def into(protocol: Protocol, adapters: Sequence[Adapter]) -> Protocol:
    """A protocol with an adapter in the options of each row that one fits.

    A row takes the first that was trained on its training set, and before that on none of the sets
    that it is tested on; a row that names none takes one that was trained on none of these. It has
    what the row's `adapter` names and nothing else of `PLAIN`. One that was trained without some
    part is for rows without it, and goes before others there.

    Raises:
        OptionError: an adapter fits no row.
    """
    taken = [_chosen(run, run.data or protocol.data, adapters) for run in protocol.runs]
    for one in adapters:
        if one not in taken:
            model = one.language_model or "any language model of its width"
            raise OptionError(
                f"--adapter {one.folder} fits no row of {protocol.id}: it is of {one.kind}"
                f"{_with(one.made)} for {one.encoder} and {model}, trained on "
                f"{one.trained_on or 'nothing it tells of'}. "
                "`blemish bench` names what each row wants; leave this one out, or name another."
            )
    runs = [
        run.model_copy(update={"options": {**run.options, "adapter": str(one.folder)}})
        if one
        else run
        for run, one in zip(protocol.runs, taken, strict=True)
    ]
    return protocol.model_copy(update={"runs": tuple(runs)})


def _chosen(run: Run, data: Sequence[str], adapters: Sequence[Adapter]) -> Adapter | None:
    entry = registry.detectors().get(str(run.detector))
    if entry is None or not entry.embeds:
        return None
    encoder, model = parts(entry, run.options)
    tested = {*data} - {run.train_on}
    for one in sorted(adapters, key=lambda one: -len(one.left_out)):
        trained = one.data[:1] == (run.train_on,) if run.train_on else bool(one.data)
        trained = trained and not tested & {*one.data}
        fits = (one.kind, one.encoder) == (entry.name, encoder)
        speaks = model is None or one.language_model in ("", model)
        tuned = one.lora == bool(run.options.get("lora"))
        without = all(run.options.get(part) is False for part in one.left_out)
        made = {**one.made} == {**PLAIN, **run.adapter}
        if fits and speaks and trained and tuned and without and made:
            return one
    return None


def parts(
    entry: registry.DetectorEntry, options: Mapping[str, Any]
) -> tuple[str | None, str | None]:
    """Encoder and language model that a detector with adapters is built with, by name."""
    encoder, model = (options.get(p, entry.parts.get(p)) for p in ("encoder", "language_model"))
    return encoder or None, model or None


def missing(run: Run) -> str:
    """What to say of a row that has no adapter; "" where it has one or needs none.

    The one that ships with a detector serves its own parts, and was trained on no data set.
    """
    entry = registry.detector(str(run.detector))
    if not entry.embeds or run.options.get("adapter") or _chosen(run, (), shipped(entry.name)):
        return ""
    encoder, model = parts(entry, run.options)
    tuned = bool(run.options.get("lora"))
    trained = run.train_on or "none of the table's data sets"
    fitting = f"{encoder} and {model}" if model else encoder
    return (
        f"no adapter of {entry.name}{_with(run.adapter)} for {fitting}{' with LoRA' * tuned}, "
        f"trained on {trained}, is at hand: make one (blemish train {entry.name}) and name it with "
        "--adapter FOLDER"
    )


def _with(made: Mapping[str, Any]) -> str:
    """What an adapter has that not every one has, in words.

    >>> _with({"enhancer": True, "apg": False, "anomalies": "both"})
    ' (enhancer, anomalies both)'
    """
    named = {name: value for name, value in made.items() if value != PLAIN[name]}
    said = [name if value is True else f"{name} {value}" for name, value in named.items()]
    return f" ({', '.join(said)})" if said else ""


def state(options: Mapping[str, Any]) -> list[Any]:
    """What shows that the adapter of these options is as it was."""
    if not options.get("adapter"):
        return []
    files = sorted(p for p in Path(options["adapter"]).rglob("*") if p.is_file())
    return [[p.name, p.stat().st_size, p.stat().st_mtime_ns] for p in files]
