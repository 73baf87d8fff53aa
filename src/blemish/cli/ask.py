"""`blemish ask`: one question about a part to several models, their answers side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import inspecting as shared
from blemish.cli import talking
from blemish.errors import BlemishError, InputError

if TYPE_CHECKING:
    from blemish.conversation import Conversation, Speaker
    from blemish.types import Inspection

HELP = (
    "Ask one question about a part, and set the answers of several models side by side.\n\n"
    "The part is inspected first. AnomalyGPT's own language model always answers too, where it is "
    "the detector."
)
EXIT_CODES = "Exit codes: 0 done; 2 nobody answered; 3 some did not; 130 stopped."
NARROW = 30
"""Characters below which columns would be too narrow, and answers stand below each other."""


@dataclass(frozen=True)
class Answer:
    """What one model said, or why it said nothing."""

    model: str
    text: str = ""
    error: str = ""


def ask(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="One picture of a part.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In quotation marks.")],
    normal: shared.Normal = None,
    class_name: shared.ClassName = "object",
    detector: talking.DetectorName = "anomalygpt",
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    seed: shared.Seed = 0,
    option: shared.Pairs = None,
    llm: Annotated[
        list[str] | None,
        typer.Option(help="Another model to ask, such as openai:NAME; repeatable."),
    ] = None,
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
    as_json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print JSON, no table.")
    ] = False,
) -> None:
    """See `HELP`."""
    from blemish import build
    from blemish.conversation import Conversation

    how: Any = {"no_cache": no_cache, "cache_only": cache_only, "device": device, "dtype": dtype}
    made = [shared.language_model(name, llm_option, **how) for name in llm or [""]]
    models = [model for model in made if model]
    ready = talking.prepared(
        [picture],
        normal,
        shared.parsed(option or []),
        models,
        class_name=class_name,
        detector=detector,
        device=device,
        dtype=dtype,
        seed=seed,
    )
    if len(ready.items) != 1:
        raise InputError(f"{len(ready.items)} pictures came; expected one. Name a single file.")
    sample, inspection = talking.shown(ready, ready.items[0])
    own = build.own_speaker(ready.detector)
    speakers = [*([own] if own else []), *map(build.speaker, models)]
    good = talking.references(normal, class_name) if models else ()
    talk = Conversation(references=good).show(sample, inspection).ask(question)
    answers = _answers(speakers, talk)
    _print(question, inspection, answers, as_json)
    failed = sum(bool(answer.error) for answer in answers)
    raise typer.Exit(0 if not failed else 2 if failed == len(answers) else 3)


def _answers(speakers: Sequence[Speaker], talk: Conversation) -> list[Answer]:
    """What each says, all at the same time; one that fails costs the others nothing."""
    from blemish.cli import screen

    def one(speaker: Speaker) -> Answer:
        try:
            return Answer(speaker.name, "".join(speaker.reply(talk)).strip())
        except BlemishError as error:
            return Answer(speaker.name, error=str(error))

    with screen.waiting(f"Asking {len(speakers)}"), ThreadPoolExecutor(len(speakers)) as pool:
        return list(pool.map(one, speakers))


def _print(question: str, inspection: Inspection, answers: Sequence[Answer], as_json: bool) -> None:
    from rich.text import Text

    from blemish.cli import screen

    if as_json:
        told = [
            {"model": a.model, **({"error": a.error} if a.error else {"answer": a.text})}
            for a in answers
        ]
        row = {
            "id": inspection.id,
            "verdict": inspection.verdict,
            "reason": inspection.reason,
            "score": inspection.score,
            "explanation": inspection.explanation,
            "question": question,
            "answers": told,
        }
        typer.echo(json.dumps(row, ensure_ascii=False))
        return
    talking.say(inspection)
    console = screen.console()
    said = [
        Text(talking.printable(a.error or a.text), "magenta" if a.error else "") for a in answers
    ]
    console.print()
    if console.width // len(answers) < NARROW:
        for answer, text in zip(answers, said, strict=True):
            console.print(Text(answer.model, "bold"))
            console.print(text, end="\n\n")
        return
    table = screen.table()
    table.padding = (0, 2, 0, 0)
    for answer in answers:
        table.add_column(answer.model, ratio=1, overflow="fold")
    table.add_row(*said)
    console.print(table)
