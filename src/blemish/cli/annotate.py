"""`blemish annotate`: pictures in, draft masks for a labelling tool out."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Sequence
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
    modality: shared.Modality = "",
    modality_option: shared.ModalityPairs = None,
    standards: shared.Standards = None,
    auxiliary: shared.Auxiliary = None,
    feedback: shared.Feedback = None,
    image_root: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where Label Studio finds the folder of the pictures, or the results' for views.",
            show_default="/data/local-files/?d=FOLDER/",
        ),
    ] = "",
) -> None:
    """See `HELP`."""
    from blemish.cli import results

    ready = shared.prepare(
        source,
        normal,
        shared.parsed(option or []),
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
    drafts = _Drafts(ready.items, out, image_root)
    summary = shared.run(ready, out)
    try:
        drafts.write(summary, _version(ready.detector))
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped. Everything is inspected and kept in {out}, but not all drafts are written; "
            "the same command writes them.",
            err=True,
        )
        raise typer.Exit(130) from None
    results.show_failures(summary)
    _say(summary, drafts.served)
    raise typer.Exit(shared.exit_code(summary))


class _Drafts:
    """Where the drafts of a run go, and where Label Studio finds the pictures.

    Attributes:
        served: folders that Label Studio is to serve: of the pictures, and of the results where
            these hold views of recordings; none where the pictures are served from elsewhere.
    """

    def __init__(self, items: Sequence[Item], out: Path, image_root: str) -> None:
        from blemish.report import exports

        self._ids = [item.id for item in items if item.modality is None]
        exports.mask_names(self._ids)  # refuses some, before anything is inspected
        self.served: list[Path] = []
        self._given = image_root
        if image_root and not image_root.endswith(("/", "=")):
            self._given = f"{image_root}/"
        if not image_root:
            pictures = [item for item in items if item.modality is None]
            self.served = [_folder(pictures)] if pictures else []
            if len(pictures) < len(items):
                self.served.append(out.absolute())

    def write(self, summary: RunSummary, version: str) -> None:
        """Write the drafts, each file as a whole or not at all."""
        from blemish.cli import screen
        from blemish.report import exports
        from blemish.runs import folder, rows

        out = summary.out
        good = list(exports.drafts(row for row in summary.rows if "error" not in row))
        names = exports.mask_names(dict.fromkeys([*self._ids, *(row["id"] for row in good)]))
        with folder.opened(out), folder.writing(out), screen.progress("Writing drafts") as update:
            for row in summary.rows:  # masks of an earlier start would pass for this one's
                if "modality" in row:
                    views = out / _MASKS / folder.VIEWS / rows.file_name(row["id"])
                    shutil.rmtree(views, ignore_errors=True)
                elif "error" in row:
                    (out / _MASKS / names[row["id"]]).unlink(missing_ok=True)
            for done, draft in enumerate(good, 1):
                path = out / _MASKS / names[draft["id"]]
                path.parent.mkdir(parents=True, exist_ok=True)
                folder.replace_file(path, _png(exports.mask(draft)))
                update(done, len(good))
            data = exports.coco(good, version)
            tasks = exports.label_studio(good, image_root=self._root, model_version=version)
            folder.replace_file(out / _COCO, _json(data))
            folder.replace_file(out / _TASKS, _json(tasks))
            folder.replace_file(out / _CONFIG, exports.LABEL_CONFIG.encode())

    def _root(self, draft: str) -> str:
        """What comes before a picture's id in its address."""
        if self._given:
            return self._given
        return _local(self.served[0 if draft in self._ids else -1])


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


def _say(summary: RunSummary, served: Sequence[Path]) -> None:
    """Print the totals, where the drafts lie, and what Label Studio needs to show them."""
    from blemish.runs.sources import called

    good = [row for row in summary.rows if "error" not in row]
    drafts = sum(bool(row["regions"]) for row in good)
    total = len(summary.rows)
    what_of = called(total, [row.get("modality") for row in summary.rows])
    counts = {"with drafts": drafts, "without": len(good) - drafts, "failed": total - len(good)}
    said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    kept = f"; {summary.kept} from an earlier start" if summary.kept else ""
    typer.echo(f"{what_of}: {said}{kept}")
    out = summary.out
    typer.echo(f"Masks: {out / _MASKS}")
    typer.echo(f"COCO: {out / _COCO}")
    typer.echo(f"Label Studio: {out / _TASKS}, labelling interface {out / _CONFIG}")
    for pictures in served:
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
