"""What `blemish inspect` and `blemish annotate` share: their options, the detector, the run."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.errors import ImageError, InputError, OptionError, ReferencesError

if TYPE_CHECKING:
    from blemish.registry import DetectorEntry
    from blemish.runs.run import RunSummary
    from blemish.runs.sources import Item
    from blemish.types import Detector, Sample

Source = Annotated[
    list[str],
    typer.Argument(metavar="SOURCE", help="Pictures, folders of pictures, or quoted globs."),
]
Normal = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Good parts: picture, folder or quoted glob; repeatable."),
]
ClassName = Annotated[str, typer.Option("--class", help="What the part is.")]
DetectorName = Annotated[
    str, typer.Option(help="A name (see: blemish detectors), or the folder of a saved one.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, or a torch device.")]
Dtype = Annotated[
    str, typer.Option(help="Of the encoder; int8 is about three times as fast on a CPU.")
]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Pairs = Annotated[
    list[str] | None,
    typer.Option(metavar="KEY=VALUE", help="Another option of the detector; repeatable."),
]
Llm = Annotated[
    str, typer.Option(help="Language model: openai:NAME, local:FOLDER or scripted:FILE.")
]
LlmPairs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="Of the language model: base_url, seed, max_cost, max_calls, ...; repeatable.",
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", metavar="", help="Ask again what was asked before.")
]
CacheOnly = Annotated[
    bool, typer.Option("--cache-only", metavar="", help="Use kept replies, ask nothing new.")
]


def parsed(pairs: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE as options; a value is JSON where it can be read so, else text."""
    parsed: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise OptionError(f"--option {pair} came; expected KEY=VALUE, such as sigma=2.")
        try:
            parsed[key.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            parsed[key.strip().replace("-", "_")] = value
    return parsed


def detector_options(
    pairs: Sequence[str] | None,
    llm: str,
    llm_pairs: Sequence[str] | None,
    *,
    device: str,
    dtype: str,
    no_cache: bool,
    cache_only: bool,
) -> dict[str, Any]:
    """The options of a detector, the language model that it asks among them."""
    from blemish.cli import asking

    options = parsed(pairs or [])
    if llm:
        options["language_model"] = asking.language_model(
            llm,
            parsed(llm_pairs or []),
            device=device,
            dtype=dtype,
            no_cache=no_cache,
            cache_only=cache_only,
        )
    return options


def ready(
    name: str,
    items: Sequence[Item],
    normal: Sequence[str] | None,
    class_name: str,
    *,
    device: str,
    dtype: str,
    seed: int,
    options: Mapping[str, Any],
) -> Detector:
    """The detector that a command names, or that suits what it names, fitted where it needs to be.

    Raises:
        InputError: no detector suits, or the good parts do not.
        OptionError: a name or an option that does not exist, or does not go with the others.
        WeightsError: its weights cannot be had.
    """
    chosen = name or ("gpt4v-ad" if options.get("language_model") else _default(normal, items))
    _check(chosen, normal)
    detector = _loaded(chosen, device=device, dtype=dtype, seed=seed, options=options)
    return _fitted(detector, normal, items, class_name)


def _default(normal: Sequence[str] | None, items: Sequence[Item]) -> str:
    from blemish.detectors.musc import FEWEST

    if normal:
        return "patch-memory"
    if len(items) >= FEWEST:
        return "musc"
    raise InputError(
        f"There is nothing to compare with: {len(items)} picture{'s' * (len(items) != 1)} and no "
        "good parts came. Either show pictures of good parts (--normal FILE_OR_FOLDER), or "
        f"inspect a folder of at least {FEWEST} pictures of the same kind of part, which are "
        "then compared with each other."
    )


def _entry(name: str) -> DetectorEntry | None:
    """What the registry knows of a name; None for the folder of a saved detector."""
    from blemish import registry

    if name not in registry.detectors() and (Path(name).is_dir() or len(Path(name).parts) > 1):
        return None
    return registry.detector(name)


def _check(name: str, normal: Sequence[str] | None) -> None:
    """Refuse, before anything is loaded, what cannot work."""
    entry = _entry(name)
    if normal and (entry is None or entry.needs == "folder"):
        what = "is fitted already" if entry is None else "compares the pictures with each other"
        raise OptionError(f"{name} {what} and takes no --normal. Leave --normal out.")
    if entry and entry.needs == "references" and not normal:
        raise ReferencesError(
            f"{name} compares parts with good ones, and none came. Add --normal with a picture "
            "or a folder of good parts."
        )


def _loaded(
    name: str, *, device: str, dtype: str, seed: int, options: Mapping[str, Any]
) -> Detector:
    """The detector, after its weights were fetched with a bar to look at."""
    from blemish import build, weights
    from blemish.cli import screen
    from blemish.settings import settings

    entry = _entry(name)
    parts = {**(entry.parts if entry else {}), **options}
    for row in weights.table():
        # The encoder checks the file; here only a long wait is to be shown.
        here = (settings().cache / "weights" / row.name / row.file).is_file()
        named = [part for part in parts.values() if isinstance(part, str)]
        if row.name in named and not here:
            with screen.progress(f"Fetching {row.name}", "B") as update:
                weights.pull(row.name, update)
    return build.load(
        name if entry else Path(name), device=device, dtype=dtype, seed=seed, **options
    )


def _fitted(
    detector: Detector, normal: Sequence[str] | None, items: Sequence[Item], class_name: str
) -> Detector:
    from blemish import registry
    from blemish.cli import screen
    from blemish.runs import sources

    if detector.calibration is not None:
        return detector
    if normal:
        with screen.waiting("Learning what good parts look like"):
            return detector.fit(sources.references(normal, class_name))
    if registry.detector(detector.name).needs == "folder":
        with screen.waiting(f"Comparing {len(items)} pictures with each other"):
            return detector.fit(_readable(items, class_name, getattr(detector, "most", None)))
    return detector


def _readable(items: Sequence[Item], class_name: str, most: int | None) -> list[Sample]:
    """The pictures of a folder but the broken ones, which the run reports.

    Of more than a detector takes, some are read: a folder of photos may not fit into the memory.
    """
    from blemish.images import read_image
    from blemish.types import Sample

    samples: dict[str, Sample] = {}
    for item in sorted(items, key=lambda item: hashlib.sha256(item.id.encode()).digest()):
        if len(samples) == most:
            break
        try:
            samples[item.id] = Sample(read_image(item.path), class_name, id=item.id)
        except ImageError:
            continue
    return [samples[item.id] for item in items if item.id in samples]


def run(
    detector: Detector, items: Sequence[Item], out: Path, class_name: str, maps: bool = False
) -> RunSummary:
    """Inspect into a folder, with a bar to look at; leave with 130 where a person stops it."""
    from blemish.cli import screen
    from blemish.runs.run import inspect

    done = 0
    try:
        with screen.progress("Inspecting") as update:

            def count(now: int, total: int) -> None:
                nonlocal done
                done = now
                update(now, total)

            return inspect(
                detector,
                items,
                out,
                class_name=class_name,
                keep_maps=maps,
                command=shlex.join(["blemish", *sys.argv[1:]]),
                on_progress=count,
            )
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped. {done} of {len(items)} pictures are done and kept in {out}; the same "
            "command goes on from there.",
            err=True,
        )
        raise typer.Exit(130) from None


def exit_code(summary: RunSummary) -> int:
    """0 where all pictures were inspected, 2 where none was, 3 where some were not."""
    failed = summary.counts["failed"]
    if failed == len(summary.rows):
        return 2
    return 3 if failed else 0
