"""`blemish inspect`: pictures in, verdicts, marked places and a report out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blemish.cli import inspecting as shared
from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.cli.preparing import Prepared

HELP = (
    "Inspect pictures of parts, videos, point clouds and time series: verdict, score, marked "
    "places, and a report to open.\n\n"
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
    modality: shared.Modality = "",
    modality_option: shared.ModalityPairs = None,
    standards: shared.Standards = None,
    auxiliary: shared.Auxiliary = None,
    feedback: shared.Feedback = None,
) -> None:
    """See `HELP`."""
    from blemish.calibration import check_false_alarms
    from blemish.cli import results
    from blemish.runs import recalibrate

    if false_alarms is not None:
        check_false_alarms(false_alarms)
    options = shared.parsed(option or [])
    if encoder:
        options["encoder"] = encoder
    if size is not None:
        options["size"] = size
    ready = shared.prepare(
        source,
        normal,
        options,
        class_name=class_name,
        detector=detector,
        device=device,
        dtype=dtype,
        seed=seed,
        llm=llm,
        llm_option=llm_option,
        no_cache=no_cache,
        cache_only=cache_only,
        modality=modality,
        modality_option=modality_option,
        standards=standards,
        auxiliary=auxiliary,
        feedback=feedback,
    )
    if false_alarms is not None:
        judge = ready.detector
        if judge.calibration is None:
            cure = "a language model's words decide; --option threshold=... moves its verdicts."
            if getattr(judge, "zero_shot", False):
                cure = "without normal parts a probability decides; add --normal."
            raise OptionError(
                f"{judge.name} has no calibration that --false-alarms could move: {cure}"
            )
        judge = judge.with_calibration(judge.calibration.moved(false_alarms))
        ready = replace(ready, detector=judge)
    folder = out or _out(source, ready)
    if false_alarms is not None:
        recalibrate.agree(folder, ready.detector.fingerprint, false_alarms)
    summary = shared.run(ready, folder, maps)
    if as_json:
        for row in summary.rows:
            typer.echo(json.dumps(row))
    else:
        results.show(summary)
    code = shared.exit_code(summary)
    raise typer.Exit(1 if exit_code and summary.counts["anomalous"] else code)


def _out(source: Sequence[str], ready: Prepared) -> Path:
    """The same folder whenever the same source is inspected in the same way."""
    paths = [str(Path(one).absolute()) for one in source]
    known = sorted({str(item.modality) for item in ready.items}), asdict(ready.context)
    text = json.dumps([ready.detector.fingerprint, *paths, *known])
    code = hashlib.sha256(text.encode()).hexdigest()[:6]
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", Path(paths[0]).stem).strip("_")
    return Path("blemish_out") / f"{plain or 'run'}-{code}"
