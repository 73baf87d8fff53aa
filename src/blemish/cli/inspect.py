"""`blemish inspect`: pictures in, verdicts, marked places and a report out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import inspecting as shared
from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.types import Detector

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
    source: shared.Source,
    normal: shared.Normal = None,
    class_name: shared.ClassName = "object",
    detector: shared.DetectorName = "",
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
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
    seed: shared.Seed = 0,
    option: shared.Pairs = None,
    llm: shared.Llm = "",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
) -> None:
    """See `HELP`."""
    from blemish.calibration import check_false_alarms
    from blemish.cli import results
    from blemish.runs import recalibrate, sources

    items = sources.find(source)
    if false_alarms is not None:
        check_false_alarms(false_alarms)
    place = {"device": device, "dtype": dtype}
    options = shared.detector_options(
        option, llm, llm_option, no_cache=no_cache, cache_only=cache_only, **place
    )
    if encoder:
        options["encoder"] = encoder
    if size is not None:
        options["size"] = size
    ready = shared.ready(detector, items, normal, class_name, seed=seed, options=options, **place)
    if false_alarms is not None:
        if ready.calibration is None:
            raise OptionError(
                f"{ready.name} has no calibration that --false-alarms could move: what a language "
                "model says decides. Leave it out; --option threshold=... moves its verdicts."
            )
        ready = ready.with_calibration(ready.calibration.moved(false_alarms))
    folder = out or _out(source, ready)
    if false_alarms is not None:
        recalibrate.agree(folder, ready.fingerprint, false_alarms)
    summary = shared.run(ready, items, folder, class_name, maps)
    if as_json:
        for row in summary.rows:
            typer.echo(json.dumps(row))
    else:
        results.show(summary)
    code = shared.exit_code(summary)
    raise typer.Exit(1 if exit_code and summary.counts["anomalous"] else code)


def _out(source: Sequence[str], detector: Detector) -> Path:
    """The same folder whenever the same source is inspected in the same way."""
    paths = [str(Path(one).absolute()) for one in source]
    code = hashlib.sha256(json.dumps([detector.fingerprint, *paths]).encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", Path(paths[0]).stem).strip("_")
    return Path("blemish_out") / f"{plain or 'run'}-{code}"
