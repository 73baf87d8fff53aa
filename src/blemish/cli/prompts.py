"""`blemish prompts`: what is said about a class, by whom, and what it is worth on pictures."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from blemish.cli import inspecting as shared

if TYPE_CHECKING:
    from blemish.detectors._explained import PromptScore
    from blemish.prompts.generated import Generated
    from blemish.runs.sources import Item
    from blemish.types import ChatModel, Sample

app = typer.Typer(
    help="Make, read and weigh the prompts that stand for normal and anomalous parts.",
    no_args_is_help=True,
)
EXIT_CODES = (
    "Exit codes: 0 done, 2 no picture could be looked at, 3 some pictures could not be read."
)
File = Annotated[
    Path | None, typer.Option("--prompts", metavar="FILE", help="Prompts from this file.")
]

OfStyle = Annotated[
    Literal["alfa", "apg"],
    typer.Option(help="The detector they are for: alfa, or apg for iad-gpt."),
]


@app.command(no_args_is_help=True)
def make(
    class_name: Annotated[str, typer.Option("--class", help="What the part is.")],
    llm: Annotated[
        str, typer.Option(help="Language model: openai:NAME, local:FOLDER or scripted:FILE.")
    ],
    style: OfStyle = "alfa",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    no_consistency: Annotated[
        bool,
        typer.Option("--no-consistency", metavar="", help="Let prompts begin as the model likes."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Where to write them.", show_default="in the cache")
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", metavar="", help="Replace prompts that were changed since they were made."
        ),
    ] = False,
) -> None:
    """Let a language model write the prompts of a class, into a file that you may edit."""
    from blemish.cli import asking, screen
    from blemish.prompts.generated import kept_at, write
    from blemish.settings import settings

    if no_consistency and style != "alfa":
        raise typer.BadParameter("--no-consistency is for --style alfa; leave it out.")
    model = asking.language_model(
        llm,
        shared.parsed(llm_option or []),
        device="auto",
        dtype="auto",
        no_cache=no_cache,
        cache_only=False,
    )
    path = out or kept_at(
        class_name,
        model.fingerprint,
        consistent=not no_consistency,
        folder=settings().cache / "prompts",
        style=style,
    )
    if path.exists() and not force:
        _spare(path)
    with screen.waiting("Asking"):
        made = _generated(class_name, model, style, consistent=not no_consistency)
    write(made, path)
    _tell(made, path)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="[CLASS]", help="Such as bottle.")] = "",
    prompts: File = None,
    style: OfStyle = "alfa",
) -> None:
    """List the classes that come with prompts; with a class or file, its prompts."""
    from blemish.prompts import contrast, generated

    if not (name or prompts):
        _list_bank()
        return
    made = generated.read(prompts) if prompts else generated.bank(name, style)
    called = contrast.called(name or (made.class_name if made else ""))
    style = made.style if made else style
    template = contrast.alfa(called) if style == "alfa" else contrast.Prompts((), ())
    for label in ("normal", "abnormal"):
        if by_rule := getattr(template, label):
            _print_all(f"{label}, by the template", by_rule)
        if made and (said := getattr(made, label)):
            # Of the bank: "written for this project".
            author = f"{'by ' * bool(made.fingerprint)}{made.author}"
            _print_all(f"{label}, {author}", said)
    if made:
        _print_all("descriptors", made.descriptors)
    else:
        typer.echo(
            f"{generated.unknown(called, style)} A language model writes them: blemish prompts "
            f"make {'--style apg ' * (style == 'apg')}--class '{called}' --llm openai:gpt-5",
            err=True,
        )


@app.command(epilog=EXIT_CODES, no_args_is_help=True)
def score(
    pictures: Annotated[
        list[str], typer.Argument(metavar="PICTURES", help="Pictures, folders, or quoted globs.")
    ],
    class_name: Annotated[str, typer.Option("--class", help="What the part is.")],
    prompts: File = None,
    encoder: Annotated[str, typer.Option(help="A CLIP encoder; else that of alfa.")] = "",
    as_json: Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")] = False,
) -> None:
    """Weigh each prompt on pictures: mean similarity, and how often contextual scoring keeps it."""
    from blemish import build
    from blemish.cli import screen
    from blemish.runs.sources import find

    given: dict[str, Any] = {"encoder": encoder, "prompts": str(prompts) if prompts else ""}
    # Looked up before the model is loaded, which takes a while.
    items = [item for item in find(pictures) if item.modality is None]
    detector: Any = build.load("alfa", **{key: value for key, value in given.items() if value})
    weighed: dict[tuple[str, str, str], list[PromptScore]] = {}
    looked_at = 0
    with screen.progress("Weighing") as update:
        for sample in _samples(items, class_name):
            for one in detector.scored(sample):
                weighed.setdefault((one.label, one.source, one.text), []).append(one)
            looked_at += 1
            update(looked_at, len(items))
    rows = [_row(scores) for scores in weighed.values()]
    rows.sort(key=lambda row: (row["label"], -row["kept"], -row["similarity"], row["text"]))
    if as_json:
        said = {"class": class_name, "pictures": looked_at, "prompts": rows}
        typer.echo(json.dumps(said, indent=1))
    elif rows:
        _print_weighed(rows, looked_at)
    if looked_at < len(items):
        raise typer.Exit(3 if looked_at else 2)


def _generated(class_name: str, model: ChatModel, style: str, *, consistent: bool) -> Generated:
    from blemish.prompts import apg, generated

    if style == "apg":
        return apg.generate(class_name, model)
    return generated.generate(class_name, model, consistent=consistent)


def _tell(made: Generated, path: Path) -> None:
    """What was made, where it lies, and how it is used."""
    detector = "iad-gpt" if made.style == "apg" else made.style
    use = ["--class", made.class_name, "--detector", detector, "--option", f"prompts={path}"]
    typer.echo(
        f"{made.class_name}: {_counted(made)}, by {made.made_by}.\n{path}\n"
        f"Read and edit them, then: blemish inspect PICTURES {shlex.join(use)}"
    )
    if not made.descriptors:
        typer.echo("The model named no descriptors, so results list none.", err=True)


def _spare(path: Path) -> None:
    """Refuse to replace what counts as changed."""
    from blemish.errors import OutputError
    from blemish.prompts.generated import is_edited

    if is_edited(path):
        raise OutputError(
            f"{path} holds prompts that a person wrote or changed, or that were made again over "
            "earlier ones. Keep them, or replace them with --force, or name another file with "
            "--out."
        )


def _counted(prompts: Generated) -> str:
    counts = (len(prompts.normal), len(prompts.abnormal), len(prompts.descriptors))
    return "{} normal and {} abnormal prompts, {} descriptors".format(*counts)


def _list_bank() -> None:
    from blemish.cli import screen
    from blemish.prompts.generated import banked

    known = [*banked("alfa"), *banked("apg")]
    counted = ("normal", "abnormal", "descriptors")
    table = screen.table("class", "style", *counted, figures=counted)
    for one in sorted(known, key=lambda one: one.class_name):
        counts = (len(one.normal), len(one.abnormal), len(one.descriptors))
        table.add_row(one.class_name, one.style, *map(str, counts))
    screen.console().print(table)
    makers = sorted({one.made_by for one in known})
    typer.echo(
        f"All {', '.join(makers)}. blemish prompts show CLASS [--style apg] prints those of one."
    )


def _print_all(title: str, texts: Sequence[str]) -> None:
    from blemish.cli import screen

    screen.console().print(f"{title}: {len(texts)}", style="bold", markup=False)
    for text in texts:
        typer.echo(f"  {text}")


def _samples(items: Sequence[Item], class_name: str) -> Iterator[Sample]:
    """The pictures that can be read; of the others, why not, on stderr."""
    from blemish.errors import ImageError
    from blemish.images import read_image
    from blemish.types import Sample

    for item in items:
        try:
            image = read_image(item.path)
        except ImageError as error:
            typer.echo(str(error), err=True)
        else:
            yield Sample(image, class_name=class_name, id=item.id)


def _row(scores: Sequence[PromptScore]) -> dict[str, Any]:
    """One prompt over all pictures."""
    from statistics import fmean

    return {
        "label": scores[0].label,
        "source": scores[0].source,
        "similarity": round(fmean(one.similarity for one in scores), 6),
        "kept": fmean(one.kept for one in scores),
        "text": scores[0].text,
    }


def _print_weighed(rows: Sequence[dict[str, Any]], pictures: int) -> None:
    from rich.text import Text

    from blemish.cli import screen

    means = ("similarity", "kept")
    table = screen.table("label", "source", *means, figures=means, last="prompt")
    for row in rows:
        figures = f"{row['similarity']:.3f}", f"{row['kept']:.0%}"
        table.add_row(row["label"], row["source"], *figures, Text(row["text"]))
    console = screen.console()
    console.print(table)
    console.print(f"Means over {pictures} picture{'s' * (pictures != 1)}.")
