"""`blemish inspect`: pictures in, verdicts, marked places and a report out."""

from __future__ import annotations

import hashlib
import json
import re
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

HELP = (
    "Inspect pictures of parts: verdict, score, marked places, and a report to open.\n\n"
    "With --normal, parts are compared with good ones. Without, the pictures of a folder are "
    "compared with each other. A run that was stopped goes on when the command is repeated."
)
EXIT_CODES = (
    "Exit codes: 0 done; 1 with --exit-code, something is anomalous; 2 nothing could be "
    "inspected; 3 some pictures could not be inspected; 130 stopped."
)


def inspect(
    source: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Pictures, folders of pictures, or quoted globs."),
    ],
    normal: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="Good parts: picture, folder or quoted glob; repeatable."
        ),
    ] = None,
    class_name: Annotated[str, typer.Option("--class", help="What the part is.")] = "object",
    detector: Annotated[
        str, typer.Option(help="A name (see: blemish detectors), or the folder of a saved one.")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, or a torch device.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of the encoder; int8 is about three times as fast on a CPU.")
    ] = "auto",
    encoder: Annotated[str, typer.Option(help="Image encoder of the detector.")] = "",
    size: Annotated[int | None, typer.Option(help="Side in pixels that is looked at.")] = None,
    false_alarms: Annotated[
        float | None, typer.Option(help="Share of good parts that may be called anomalous.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="blemish_out/...")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON lines, no table.")
    ] = False,
    maps: Annotated[
        bool, typer.Option("--maps", metavar="", help="Keep the raw anomaly maps.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", metavar="", help="Exit with 1 if anything is anomalous.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Another option of the detector; repeatable."),
    ] = None,
    llm: Annotated[
        str, typer.Option(help="Language model: openai:NAME, local:FOLDER or scripted:FILE.")
    ] = "",
    llm_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Of the language model: base_url, seed, max_cost, max_calls, ...; repeatable.",
        ),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", metavar="", help="Ask again what was asked before.")
    ] = False,
    cache_only: Annotated[
        bool, typer.Option("--cache-only", metavar="", help="Use kept replies, ask nothing new.")
    ] = False,
) -> None:
    """See `HELP`."""
    from blemish.cli import asking, results
    from blemish.runs import sources

    items = sources.find(source)
    options = {**parsed(option or []), **({"encoder": encoder} if encoder else {})}
    if size is not None:
        options["size"] = size
    if llm:
        options["language_model"] = asking.language_model(
            llm,
            parsed(llm_option or []),
            device=device,
            dtype=dtype,
            no_cache=no_cache,
            cache_only=cache_only,
        )
    name = detector or ("gpt4v-ad" if llm else _default(bool(normal), items))
    _check(name, normal, false_alarms)
    ready = _fitted(
        _loaded(name, device=device, dtype=dtype, seed=seed, options=options),
        normal,
        items,
        class_name,
    )
    if false_alarms is not None:
        ready = ready.with_calibration(ready.calibration.moved(false_alarms))
    folder = out or _out(source, ready)
    summary = _run(ready, items, folder, class_name, maps, false_alarms)
    if as_json:
        for row in summary.rows:
            typer.echo(json.dumps(row))
    else:
        results.show(summary)
    raise typer.Exit(_code(summary, exit_code))


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


def _default(with_normal: bool, items: Sequence[Item]) -> str:
    from blemish.detectors.musc import FEWEST

    if with_normal:
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


def _check(name: str, normal: Sequence[str] | None, false_alarms: float | None) -> None:
    """Refuse, before anything is loaded, what cannot work."""
    from blemish.calibration import check_false_alarms

    if false_alarms is not None:
        check_false_alarms(false_alarms)
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


def _out(source: Sequence[str], detector: Detector) -> Path:
    """The same folder whenever the same source is inspected in the same way."""
    paths = [str(Path(one).absolute()) for one in source]
    code = hashlib.sha256(json.dumps([detector.fingerprint, *paths]).encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", Path(paths[0]).stem).strip("_")
    return Path("blemish_out") / f"{plain or 'run'}-{code}"


def _run(
    detector: Detector,
    items: Sequence[Item],
    out: Path,
    class_name: str,
    maps: bool,
    false_alarms: float | None,
) -> RunSummary:
    from blemish.cli import screen
    from blemish.runs import recalibrate, run

    if false_alarms is not None:
        recalibrate.agree(out, detector.fingerprint, false_alarms)
    done = 0
    try:
        with screen.progress("Inspecting") as update:

            def count(now: int, total: int) -> None:
                nonlocal done
                done = now
                update(now, total)

            return run.inspect(
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


def _code(summary: RunSummary, exit_code: bool) -> int:
    counts = summary.counts
    if counts["failed"] == len(summary.rows):
        return 2
    if exit_code and counts["anomalous"]:
        return 1
    return 3 if counts["failed"] else 0
