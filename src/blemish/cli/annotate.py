"""`blemish annotate`: pictures in, draft masks for a labelling tool out."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from blemish.cli import inspecting as shared

if TYPE_CHECKING:
    from blemish.runs.run import RunSummary
    from blemish.runs.sources import Item
    from blemish.types import Detector

HELP = (
    "Inspect pictures and write draft masks for a labelling tool, for a person to correct.\n\n"
    "Inspects as `blemish inspect` does, and writes masks/ (PNG, 0 and 255), coco.json, "
    "label_studio.json and label_studio.xml beside the report. A run that was stopped goes on when "
    "the command is repeated; the drafts are written anew each time, so correct copies of them."
)
EXIT_CODES = (
    "Exit codes: 0 done; 2 nothing could be inspected; 3 some pictures could not be inspected; "
    "130 stopped."
)

_MASKS, _COCO, _TASKS, _CONFIG = "masks", "coco.json", "label_studio.json", "label_studio.xml"


def annotate(
    source: shared.Source,
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    normal: shared.Normal = None,
    class_name: shared.ClassName = "object",
    detector: shared.DetectorName = "",
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    seed: shared.Seed = 0,
    option: shared.Pairs = None,
    llm: shared.Llm = "",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
    image_root: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where Label Studio finds the folder of the pictures.",
            show_default="/data/local-files/?d=FOLDER/",
        ),
    ] = "",
) -> None:
    """See `HELP`."""
    from blemish.cli import results
    from blemish.report import exports
    from blemish.runs import sources

    items = sources.find(source)
    names = exports.mask_names(item.id for item in items)
    place = {"device": device, "dtype": dtype}
    options = shared.detector_options(
        option, llm, llm_option, no_cache=no_cache, cache_only=cache_only, **place
    )
    ready = shared.ready(detector, items, normal, class_name, seed=seed, options=options, **place)
    summary = shared.run(ready, items, out, class_name)
    pictures = _folder(items)
    root = image_root or _local(pictures)
    try:
        _write(summary, names, _version(ready), root if root.endswith(("/", "=")) else f"{root}/")
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped. All pictures are done and kept in {out}, but not all drafts are written; "
            "the same command writes them.",
            err=True,
        )
        raise typer.Exit(130) from None
    results.show_failures(summary)
    _say(summary, None if image_root else pictures)
    raise typer.Exit(shared.exit_code(summary))


def _write(summary: RunSummary, names: Mapping[str, str], version: str, image_root: str) -> None:
    """Write the drafts, each file as a whole or not at all."""
    from blemish.cli import screen
    from blemish.report import exports
    from blemish.runs import folder

    good = [row for row in summary.rows if "error" not in row]
    out, sizes = summary.out, {}
    with folder.opened(out), folder.writing(out), screen.progress("Writing drafts") as update:
        for done, row in enumerate(good, 1):
            sizes[row["id"]] = _size(row)
            path = out / _MASKS / names[row["id"]]
            path.parent.mkdir(parents=True, exist_ok=True)
            folder.replace_file(path, _png(exports.mask(row, sizes[row["id"]])))
            update(done, len(good))
        for row in summary.rows:
            if "error" in row:  # a mask of an earlier start would pass for one of this picture
                (out / _MASKS / names[row["id"]]).unlink(missing_ok=True)
        data = exports.coco(good, sizes, version)
        tasks = exports.label_studio(good, sizes, image_root=image_root, model_version=version)
        folder.replace_file(out / _COCO, _json(data))
        folder.replace_file(out / _TASKS, _json(tasks))
        folder.replace_file(out / _CONFIG, exports.LABEL_CONFIG.encode())


def _size(row: Mapping[str, Any]) -> tuple[int, int]:
    """(height, width) of an inspected picture.

    Raises:
        ImageError: nothing is marked in it, and it is gone or has changed since.
    """
    from blemish.runs import report

    for region in row["regions"]:
        if region["view"] == 0:
            height, width = region["mask"]["size"]
            return height, width
    height, width = report.original(dict(row)).shape[:2]
    return height, width


def _png(mask: Any) -> bytes:
    import PIL.Image

    held = io.BytesIO()
    PIL.Image.fromarray(mask).save(held, "PNG")
    return held.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"


def _version(detector: Detector) -> str:
    """The detector's name with a code of its fingerprint, which may be pages long."""
    code = hashlib.sha256(detector.fingerprint.encode()).hexdigest()[:8]
    return f"{detector.name}-{code}"


def _folder(items: Sequence[Item]) -> Path:
    """The folder that the pictures' ids are relative to."""
    return items[0].path.parents[len(PurePosixPath(items[0].id).parts) - 1]


def _local(pictures: Path) -> str:
    """Where Label Studio serves the files of a folder, if its document root is the one above.

    It takes no folder as storage that is the document root itself.
    """
    return f"/data/local-files/?d={quote(os.fsencode(pictures.name))}/"


def _say(summary: RunSummary, pictures: Path | None) -> None:
    """Print the totals, where the drafts lie, and what Label Studio needs to show them."""
    good = [row for row in summary.rows if "error" not in row]
    drafts = sum(bool(row["regions"]) for row in good)
    total = len(summary.rows)
    counts = {"with drafts": drafts, "without": len(good) - drafts, "failed": total - len(good)}
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    kept = f"; {summary.kept} from an earlier start" if summary.kept else ""
    typer.echo(f"{total} picture{'s' * (total != 1)}: {said}{kept}")
    out = summary.out
    typer.echo(f"Masks: {out / _MASKS}")
    typer.echo(f"COCO: {out / _COCO}")
    typer.echo(f"Label Studio: {out / _TASKS}, labelling interface {out / _CONFIG}")
    if pictures:
        above, here = (
            os.fsencode(p).decode("utf-8", "replace") for p in (pictures.parent, pictures)
        )
        typer.echo(
            "Label Studio finds the pictures if it is started with "
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            f"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT={above}, and the project has "
            f"{here} as a source storage of local files."
        )
    typer.echo(f"Report: {summary.report}")
