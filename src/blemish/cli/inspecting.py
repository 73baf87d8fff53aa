"""What `blemish inspect` and `blemish annotate` share: their options and the run."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.cli.preparing import Prepared
    from blemish.runs.run import RunSummary
    from blemish.types import ChatModel

Source = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE", help="Pictures or recordings, their folders, or quoted globs."
    ),
]
Normal = Annotated[
    list[str] | None,
    typer.Option(metavar="PATH", help="Good parts: file, folder or quoted glob; repeatable."),
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
Modality = Annotated[
    str, typer.Option(help="Take what comes as: video, point-cloud or time-series.")
]
ModalityPairs = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="How a recording becomes views: every=0.5, views=around, window=500, ...; repeatable.",
    ),
]
Standards = Annotated[
    str | None,
    typer.Option(metavar="TEXT_OR_FILE", help="What normal looks like, for a language model."),
]
Auxiliary = Annotated[
    Path | None,
    typer.Option(help="Readings to tell a language model: JSON for all, CSV by file."),
]
Feedback = Annotated[
    Path | None,
    typer.Option(help="Findings that a person judged, JSON Lines: class, finding, confirmed."),
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


def prepare(
    source: Sequence[str],
    normal: Sequence[str] | None,
    option: Mapping[str, Any],
    *,
    llm: str,
    llm_option: Sequence[str] | None,
    no_cache: bool,
    cache_only: bool,
    modality_option: Sequence[str] | None,
    **named: Any,
) -> Prepared:
    """What a run needs, from the options that both commands have.

    Raises:
        BlemishError: something that was named does not exist, or does not go with the rest.
    """
    from blemish import registry
    from blemish.cli.preparing import Command, prepared

    options = dict(option)
    where = {"device": named["device"], "dtype": named["dtype"]}
    model = language_model(llm, llm_option, no_cache=no_cache, cache_only=cache_only, **where)
    if model:
        entry = registry.detectors().get(named["detector"])
        options["speaker" if entry and entry.embeds else "language_model"] = model
    views = parsed(modality_option or [])
    return prepared(Command(source, normal or [], option=options, modality_option=views, **named))


def language_model(
    llm: str,
    llm_option: Sequence[str] | None,
    *,
    no_cache: bool,
    cache_only: bool,
    device: str,
    dtype: str,
) -> ChatModel | None:
    """The language model that --llm names; None where none was named.

    Raises:
        BlemishError: there is no such model, or an option of one came without any.
    """
    from blemish.cli import asking

    idle = {"--llm-option": llm_option, "--no-cache": no_cache, "--cache-only": cache_only}
    if not llm and (given := [name for name, value in idle.items() if value]):
        raise OptionError(
            f"{given[0]} came without a language model. Name one with --llm, such as --llm "
            "openai:gpt-5, or leave it out."
        )
    if not llm:
        return None
    return asking.language_model(
        llm,
        parsed(llm_option or []),
        device=device,
        dtype=dtype,
        no_cache=no_cache,
        cache_only=cache_only,
    )


def run(ready: Prepared, out: Path, maps: bool = False) -> RunSummary:
    """Inspect into a folder, with a bar to look at; leave with 130 where a person stops it."""
    from blemish.cli import screen
    from blemish.runs.folder import read_rows
    from blemish.runs.run import inspect
    from blemish.runs.sources import called

    try:
        with interruptible(), screen.progress("Inspecting") as update:
            return inspect(
                ready.detector,
                ready.items,
                out,
                context=ready.context,
                keep_maps=maps,
                command=shlex.join(["blemish", *sys.argv[1:]]),
                on_progress=update,
            )
    except KeyboardInterrupt:
        # What was under way has been written after the last progress.
        there = {row["id"] for row in read_rows(out)[0] if "error" not in row}
        done = sum(item.id in there for item in ready.items)
        everything = called(len(ready.items), [item.modality for item in ready.items])
        typer.echo(
            f"Stopped. {done} of {everything} are done and kept in {out}; the same command goes on "
            "from there.",
            err=True,
        )
        raise typer.Exit(130) from None


def _interrupt() -> None:
    raise KeyboardInterrupt


@contextmanager
def interruptible(stop: Callable[[], None] = _interrupt) -> Iterator[None]:
    """A first Ctrl-C stops a run in order, which may take a while; a second leaves at once.

    Args:
        stop: what a first one does.
    """
    before = signal.getsignal(signal.SIGINT)

    def first(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
        typer.echo(
            "Stopping: what is under way is still finished and kept. Ctrl-C again leaves at once.",
            err=True,
        )
        stop()

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def exit_code(summary: RunSummary) -> int:
    """0 where all pictures were inspected, 2 where none was, 3 where some were not."""
    failed = summary.counts["failed"]
    if failed == len(summary.rows):
        return 2
    return 3 if failed or summary.stopped else 0
