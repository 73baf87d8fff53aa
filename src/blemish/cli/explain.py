"""`blemish explain`: what led a detector to its verdict on one picture, prompt by prompt."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import inspecting as shared
from blemish.errors import InputError, OptionError

if TYPE_CHECKING:
    from blemish.cli.preparing import Prepared
    from blemish.detectors._explained import Explained, PromptScore
    from blemish.runs.sources import Item
    from blemish.types import Image, Sample

HELP = (
    "Say what a verdict on one picture stands on: which prompts were kept, which were dropped and "
    "why, and which descriptions of an anomaly the picture is most similar to.\n\n"
    "Writes explain.png, the picture with bars beside it, and explain.json, with everything."
)
EXIT_CODES = "Exit codes: 0 done; 2 the picture could not be explained; 130 stopped."
BEST = 5
"""Descriptions of an anomaly that are printed and drawn, as in figure 6 of 2404.09654."""
MOST = 10
"""Prompts that were kept, and prompts that were dropped, up to which each gets a line."""


def explain(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="One picture of a part.")],
    normal: shared.Normal = None,
    class_name: shared.ClassName = "object",
    detector: shared.DetectorName = "alfa",
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="blemish_out/...")
    ] = None,
    space: Annotated[
        bool,
        typer.Option("--space", metavar="", help="Draw prompts and picture in their joint space."),
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Print every prompt, however many.")
    ] = False,
    seed: shared.Seed = 0,
    option: shared.Pairs = None,
    llm: shared.Llm = "",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
) -> None:
    """See `HELP`."""
    from blemish import registry
    from blemish.cli import screen

    if entry := registry.detectors().get(detector):  # before anything is loaded
        _check(registry.resolve(entry.target), detector)
    ready = shared.prepare(
        [picture],
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
        modality_option=None,
    )
    _check(ready.detector, detector)
    item = _only(ready.items)
    with screen.waiting("Explaining"):
        sample = _sample(ready, item)
        explained: Explained = ready.detector.explain(sample)  # type: ignore[attr-defined]
    written = _write(out or _out(item), ready, item, sample, explained, space)
    _show(explained, None if every else MOST)
    for what, path in written.items():
        typer.echo(f"{what}: {path}")


def _check(made: object, name: str) -> None:
    """Refuse a detector, or the class of one, that chooses no prompts."""
    if not hasattr(made, "explain"):
        raise OptionError(
            f"{name} chooses no prompts picture by picture, so there is nothing to explain; "
            "--detector alfa does."
        )


def _only(items: Sequence[Item]) -> Item:
    """The one picture that came."""
    from blemish.runs.sources import called

    if len(items) != 1 or items[0].modality:
        came = called(len(items), [item.modality for item in items])
        raise InputError(f"{came} came; expected one picture. Name a single picture's file.")
    return items[0]


def _sample(ready: Prepared, item: Item) -> Sample:
    from blemish.images import read_image

    return ready.context.sample(read_image(item.path), item.id)


def _out(item: Item) -> Path:
    """The same folder whenever the same picture is explained."""
    from blemish.runs.rows import file_name

    return Path("blemish_out") / f"explain-{file_name(item.path.absolute().as_posix())}"


def _write(
    out: Path, ready: Prepared, item: Item, sample: Sample, explained: Explained, space: bool
) -> Mapping[str, Path]:
    """Write what was found, and give the path of each file by what it is."""
    import PIL.Image

    from blemish.runs.folder import replace_file, writing
    from blemish.runs.rows import inspection_row

    about = {
        "class": sample.class_name,
        "detector": {"name": ready.detector.name, "fingerprint": ready.detector.fingerprint},
        "descriptors": [{"text": t, "similarity": s} for t, s in explained.descriptors],
        "prompts": [asdict(prompt) for prompt in explained.prompts],
    }
    row = inspection_row(item, item.sha256(), sample.images, explained.inspection, about)
    text = json.dumps(row, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    drawn = {"Picture": ("explain.png", _drawn(ready, sample, explained))}
    if space:
        drawn["Space"] = ("space.png", _space(explained))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, image in drawn.values():
            PIL.Image.fromarray(image).save(out / name)
        replace_file(out / "explain.json", text.encode("utf-8", "backslashreplace"))
    paths = {what: out / name for what, (name, _) in drawn.items()}
    return {**paths, "Everything": out / "explain.json"}


def _drawn(ready: Prepared, sample: Sample, explained: Explained) -> Image:
    """The picture with what was found, beside bars of what it is most similar to."""
    from blemish.report.bars import beside
    from blemish.report.overlay import overlay
    from blemish.runs import pictures

    found = explained.inspection
    point = ready.detector.calibration or pictures.point_of(found.evidence)
    heat = pictures.painted(found.anomaly_map, point)
    marked = pictures.in_view(found.regions, 0)
    caption = pictures.said(found.verdict, found.score)
    return beside(overlay(sample.image, heat, marked, caption), explained.descriptors[:BEST])


def _space(explained: Explained) -> Image:
    import numpy as np

    from blemish.report.space import space

    abnormal = np.array([prompt.label == "abnormal" for prompt in explained.prompts])
    kept = np.array([prompt.kept for prompt in explained.prompts])
    return space(explained.embeddings, explained.image, abnormal, kept)


def _show(explained: Explained, most: int | None) -> None:
    """Print verdict, descriptions, and the prompts that were kept and dropped."""
    from rich.text import Text

    from blemish.cli import screen
    from blemish.runs.pictures import said

    console = screen.console()
    found, prompts = explained.inspection, explained.prompts
    reason = f" ({found.reason})" if found.reason else ""
    console.print(
        Text(
            f"{found.id}: {said(found.verdict, found.score)}{reason}", screen.COLOURS[found.verdict]
        )
    )
    if explained.descriptors:
        console.print()
        best = explained.descriptors[:BEST]
        table = screen.table("similarity", figures=["similarity"], last="description of an anomaly")
        for text, similarity in best:
            table.add_row(f"{similarity:.3f}", Text(text))
        console.print(table)
    for kept, title in ((True, "Kept"), (False, "Dropped")):
        rows = [prompt for prompt in _telling(prompts) if prompt.kept == kept]
        console.print(f"\n{title}: {_counts(prompts, kept)}", style="bold")
        shown = rows[:most]
        if shown:
            figures = ("similarity", "score")
            table = screen.table(
                *figures, "label", "source", figures=figures, last="why, and prompt"
            )
            for line in _lines(shown):
                table.add_row(*line)
            console.print(table)
        if len(rows) > len(shown):
            console.print(f"and {len(rows) - len(shown)} more; --all prints them")
    console.print()


def _telling(prompts: Sequence[PromptScore]) -> list[PromptScore]:
    """The prompts that tell most first."""
    return sorted(prompts, key=lambda prompt: (-prompt.score, -prompt.similarity))


def _counts(prompts: Sequence[PromptScore], kept: bool) -> str:
    """How many of each side's prompts were kept, or dropped."""
    sides: dict[str, list[bool]] = {"normal": [], "abnormal": []}
    for prompt in prompts:
        sides[prompt.label].append(prompt.kept == kept)
    return ", ".join(f"{sum(own)} of {len(own)} {side}" for side, own in sides.items())


def _lines(prompts: Sequence[PromptScore]) -> Iterator[Sequence[Any]]:
    """Prompts with their figures, those of one reason below each other and below the reason."""
    from rich.padding import Padding
    from rich.text import Text

    for why in dict.fromkeys(prompt.why for prompt in prompts):
        yield "", "", "", "", Text(why, "dim")
        for prompt in prompts:
            if prompt.why == why:
                source = prompt.source.removeprefix("language ")
                figures = f"{prompt.similarity:.3f}", f"{prompt.score:.3f}"
                yield *figures, prompt.label, source, Padding(Text(prompt.text), (0, 0, 0, 2))
