"""From what a command names to what a run needs: items, what is known of them, the detector."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from blemish.errors import ImageError, InputError, OptionError, ReferencesError

if TYPE_CHECKING:
    from blemish.modalities.recording import Modality
    from blemish.registry import DetectorEntry
    from blemish.runs.context import Context
    from blemish.runs.sources import Item
    from blemish.types import Detector, Example, Sample


@dataclass(frozen=True)
class Command:
    """What a person typed; each name is that of an option."""

    source: Sequence[str]
    normal: Sequence[str]
    class_name: str
    detector: str
    device: str
    dtype: str
    seed: int
    option: Mapping[str, Any]
    modality: str = ""
    modality_option: Mapping[str, Any] = field(default_factory=dict)
    standards: str | None = None
    auxiliary: Path | None = None
    feedback: Path | None = None


@dataclass(frozen=True)
class Prepared:
    """What a run needs.

    Attributes:
        detector: fitted, where it needs to be.
        items: what to inspect.
        context: what is known of the items.
    """

    detector: Detector
    items: Sequence[Item]
    context: Context


def prepared(command: Command) -> Prepared:
    """Find and read what a command names, and load and fit the detector.

    Raises:
        InputError: there is nothing to inspect, no detector suits, or the good parts do not.
        OptionError: a name or an option that does not exist, or does not go with the others.
        WeightsError: the detector's weights cannot be had.
    """
    from blemish.modalities import find
    from blemish.runs import context, sources

    forced = find.modality(command.modality) if command.modality else None
    items = sources.find(command.source, forced)
    modality = _modality(command, items)
    known = context.Context(
        command.class_name,
        standards="" if command.standards is None else context.read_standards(command.standards),
        auxiliary=context.read_auxiliary(command.auxiliary) if command.auxiliary else {},
        options=command.modality_option,
    )
    feedback = context.read_feedback(command.feedback) if command.feedback else []
    _tell_of_strangers(known, items, command.auxiliary)
    chosen = command.detector or _default(command, items)
    _check(chosen, command)
    detector = _loaded(chosen, command)
    if getattr(detector, "language_model", None) is None:
        known = replace(known, options=_comparable(command, items, modality))
    return Prepared(_fitted(detector, command, items, modality, known, feedback), items, known)


def _modality(command: Command, items: Sequence[Item]) -> Modality | None:
    """What is inspected, the first kind where there are several; checks the options of views."""
    from blemish.modalities import find

    kinds = list(dict.fromkeys(item.modality for item in items))
    recorded = [kind for kind in kinds if kind]
    for kind in recorded:
        find.checked(kind, command.modality_option)
    if command.modality_option and not recorded:
        raise OptionError(
            f"--modality-option {next(iter(command.modality_option))} says how recordings become "
            "views, and pictures came. Leave it out, or name the --modality."
        )
    if command.normal and len(kinds) > 1:
        raise InputError(
            "Different kinds of files came with --normal: "
            f"{', '.join(kind or 'picture' for kind in kinds)}. Inspect one kind at a time."
        )
    return kinds[0]


def _tell_of_strangers(known: Context, items: Sequence[Item], path: Path | None) -> None:
    from blemish.runs.context import EVERY

    there = {EVERY, *(item.id for item in items)}
    strangers = [name for name in known.auxiliary if name not in there]
    if strangers:
        more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
        typer.echo(
            f"{path} has readings of what is not inspected: {', '.join(strangers[:5])}{more}. Ids "
            f"are such as {items[0].id}.",
            err=True,
        )


def _default(command: Command, items: Sequence[Item]) -> str:
    """The detector that suits what came."""
    from blemish.detectors.musc import FEWEST
    from blemish.runs.sources import called

    recorded = any(item.modality for item in items)
    words = _words(command)
    if command.option.get("language_model"):
        return "vqa" if recorded or words else "gpt4v-ad"
    if words:
        raise OptionError(
            f"{words[0]} is for a language model, and none was named. Add --llm, such as "
            "--llm openai:gpt-5, or leave it out."
        )
    if command.normal:
        # A sentence on each of a recording's many views would take long and be read by nobody, and
        # the adapter that ships belongs to one encoder.
        other = "encoder" in command.option and "adapter" not in command.option
        return "patch-memory" if recorded or other else "anomalygpt"
    if recorded or len(items) >= FEWEST:
        return "musc"
    raise InputError(
        f"There is nothing to compare with: {called(len(items), [None])} and no good parts came. "
        "Either show pictures of good parts (--normal FILE_OR_FOLDER), or inspect a folder of at "
        f"least {FEWEST} pictures of the same kind of part, which are then compared with each "
        "other."
    )


def _words(command: Command) -> list[str]:
    """The options that came which only a language model understands."""
    given = {
        "--auxiliary": command.auxiliary,
        "--feedback": command.feedback,
        "--standards": command.standards,
    }
    return [name for name, value in given.items() if value is not None]


def _entry(name: str) -> DetectorEntry | None:
    """What the registry knows of a name; None for the folder of a saved detector."""
    from blemish import registry

    if name not in registry.detectors() and (Path(name).is_dir() or len(Path(name).parts) > 1):
        return None
    return registry.detector(name)


def _check(name: str, command: Command) -> None:
    """Refuse, before anything is loaded, what cannot work."""
    from blemish import registry

    entry = _entry(name)
    if command.normal and (entry is None or entry.needs == "folder"):
        what = "is fitted already" if entry is None else "compares the pictures with each other"
        raise OptionError(f"{name} {what} and takes no --normal. Leave --normal out.")
    asks = entry is None or "language_model" in entry.parts
    if command.option.get("language_model") and not asks:
        raise OptionError(
            f"{name} asks no language model. Leave --llm out, or choose --detector gpt4v-ad or vqa."
        )
    source = registry.detectors().get(str(command.option.get("map_source")))
    if source and source.needs == "references" and entry and not command.normal:
        raise ReferencesError(
            f"map_source={source.name} compares parts with good ones, and none came. Add --normal "
            "with a picture or a folder of good parts."
        )
    if command.feedback and entry is None:
        raise OptionError(f"{name} is fitted already and takes no --feedback. Leave it out.")
    if entry and entry.needs == "references" and not command.normal:
        raise ReferencesError(
            f"{name} compares parts with good ones, and none came. Add --normal with a picture "
            "or a folder of good parts."
        )
    if entry and (words := _words(command)) and entry.name != "vqa":
        if words == ["--standards"] and entry.needs == "language model":
            return
        raise OptionError(
            f"{entry.name} takes no {words[0]}. Leave it out, or ask a language model with "
            "--detector vqa."
        )


def _loaded(name: str, command: Command) -> Detector:
    """The detector, after its weights were fetched with a bar to look at."""
    from blemish import build, weights
    from blemish.cli import screen
    from blemish.settings import settings

    entry = _entry(name)
    parts = {**(entry.parts if entry else {}), **command.option}
    for row in weights.table():
        # The encoder checks the file; here only a long wait is to be shown.
        here = (settings().cache / "weights" / row.name / row.file).is_file()
        named = [part for part in parts.values() if isinstance(part, str)]
        if row.name in named and not here:
            with screen.progress(f"Fetching {row.name}", "B") as update:
                weights.pull(row.name, update)
    where = {"device": command.device, "dtype": command.dtype, "seed": command.seed}
    return build.load(name if entry else Path(name), **where, **command.option)  # type: ignore[arg-type]


def _comparable(
    command: Command, items: Sequence[Item], modality: Modality | None
) -> Mapping[str, Any]:
    """Options of views with which a detector that compares pictures can compare plots."""
    from blemish.runs import references, sources

    if modality != "time-series":
        return command.modality_option
    if command.normal:
        return references.comparable(
            sources.find(command.normal, modality), command.modality_option
        )
    return references.comparable(items, command.modality_option, strict=False)


def _fitted(
    detector: Detector,
    command: Command,
    items: Sequence[Item],
    modality: Modality | None,
    known: Context,
    feedback: Sequence[Example],
) -> Detector:
    from blemish import registry
    from blemish.cli import screen
    from blemish.runs import references

    if detector.calibration is not None:
        return detector
    if command.normal:
        with screen.waiting("Learning what good parts look like"):
            good = references.references(command.normal, known.class_name, modality, known.options)
            fitted = detector.fit(good.samples, feedback)
        if good.of > len(good.samples):
            typer.echo(
                f"The normal recordings have {good.of:,} views; {len(good.samples)} of them, "
                "evenly spread, are compared with.",
                err=True,
            )
        return fitted
    if registry.detector(detector.name).needs == "folder":
        with screen.waiting(f"Comparing {len(items)} files with each other"):
            most = getattr(detector, "most", None)
            if modality:
                return detector.fit(_views(items, known, most or references.MOST))
            return detector.fit(_readable(items, known, most))
    return detector.fit([], feedback) if feedback else detector


def _views(items: Sequence[Item], known: Context, most: int) -> Sequence[Sample]:
    """Views of recordings, to be compared with each other."""
    from blemish.detectors.musc import FEWEST
    from blemish.runs.references import among
    from blemish.runs.sources import called

    found = among(items, known.class_name, known.options, most)
    if found.of < FEWEST:
        what = called(len(items), [item.modality for item in items])
        raise InputError(
            f"There is nothing to compare with: {what} gave {found.of} views, and no good parts "
            "came. Either show good ones (--normal FILE_OR_FOLDER), or have at least "
            f"{FEWEST} views made, which are then compared with each other, such as by "
            "--modality-option every=0.5 of a video or window=500 of a series."
        )
    return found.samples


def _readable(items: Sequence[Item], known: Context, most: int | None) -> list[Sample]:
    """The pictures of a folder but the broken ones, which the run reports.

    Of more than a detector takes, some are read: a folder of photos may not fit into the memory.
    """
    from blemish.images import read_image

    samples: dict[str, Sample] = {}
    for item in sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        if len(samples) == most:
            break
        try:
            samples[item.id] = known.sample(read_image(item.path), item.id)
        except ImageError:
            continue
    return [samples[item.id] for item in items if item.id in samples]
