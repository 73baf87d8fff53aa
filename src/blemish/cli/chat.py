"""`blemish chat`: inspect parts, then answer questions about them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import inspecting as shared
from blemish.cli import talking
from blemish.errors import BlemishError, OptionError

if TYPE_CHECKING:
    from blemish.cli.preparing import Prepared
    from blemish.conversation import Conversation, Speaker

HELP = (
    "Inspect parts, and talk about what was found: where, how many, how large.\n\n"
    "Without --llm, AnomalyGPT's small language model answers what its map holds and says what it "
    "cannot tell. With --llm, that model answers; it is shown the pictures, the map and the "
    "findings. Questions may come from a pipe, one a line."
)
EXIT_CODES = (
    "Exit codes: 0 done; 2 nothing could be inspected; 3 a question got no answer; 130 stopped."
)
COMMANDS = (
    "/show FILE shows another part, /part NUMBER goes back to an earlier one, /quit leaves. "
    "Ctrl-C stops an answer."
)


def chat(
    pictures: Annotated[list[str], typer.Argument(metavar="PICTURE", help="Pictures of parts.")],
    normal: shared.Normal = None,
    class_name: shared.ClassName = "object",
    detector: talking.DetectorName = "anomalygpt",
    device: shared.Device = "auto",
    dtype: shared.Dtype = "auto",
    seed: shared.Seed = 0,
    option: shared.Pairs = None,
    llm: shared.Llm = "",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
) -> None:
    """See `HELP`."""
    from blemish import build
    from blemish.conversation import Conversation

    model = shared.language_model(
        llm, llm_option, no_cache=no_cache, cache_only=cache_only, device=device, dtype=dtype
    )
    ready = talking.prepared(
        pictures,
        normal,
        shared.parsed(option or []),
        [model] if model else [],
        class_name=class_name,
        detector=detector,
        device=device,
        dtype=dtype,
        seed=seed,
    )
    speaker = build.speaker(model) if model else build.own_speaker(ready.detector)
    if speaker is None:
        raise OptionError(f"{detector} has no language model to talk with. Add --llm.")
    good = talking.references(normal, class_name) if model else ()
    session = _Session(ready, speaker, Conversation(references=good))
    session.show(pictures)
    raise typer.Exit(session.run())


class _Session:
    """A conversation as it goes on in front of a person."""

    def __init__(self, ready: Prepared, speaker: Speaker, conversation: Conversation) -> None:
        self._ready, self._speaker, self._talk = ready, speaker, conversation
        self._part = 0
        self._here = sys.stdin.isatty()

    def run(self) -> int:
        """Take questions until there are no more; the exit code."""
        typer.echo(f"{self._speaker.name} answers. {COMMANDS}", err=True)
        code = 0
        try:
            while (line := self._line()) not in (None, "/quit", "/exit"):
                try:
                    self._take(str(line))
                except BlemishError as error:
                    typer.echo(f"blemish: {error}", err=True)
                    code = 3
        except KeyboardInterrupt:
            typer.echo()
            return 130
        return code

    def show(self, named: Sequence[str]) -> None:
        """Inspect pictures and say what was found."""
        for item in talking.found(named):
            sample, inspection = talking.shown(self._ready, item)
            self._talk = self._talk.show(sample, inspection)
            self._part = len(self._talk.parts) - 1
            talking.say(inspection, self._part + 1)

    def _line(self) -> str | None:
        """What a person types next; None at the end."""
        try:
            line = input("> " if self._here else "").strip()
        except EOFError:
            return None
        if line and not self._here:
            typer.echo(f"> {talking.printable(line)}")
        return line

    def _take(self, line: str) -> None:
        command, _, rest = line.partition(" ")
        if command == "/show" and rest.strip():
            self.show([rest.strip()])
        elif command == "/part":
            self._part = self._number(rest)
            talking.say(self._talk.parts[self._part][1], self._part + 1)
        elif line.startswith("/"):
            typer.echo(COMMANDS, err=True)
        elif line:
            self._answer(line)

    def _number(self, text: str) -> int:
        count = len(self._talk.parts)
        if not (text.strip().isdecimal() and 1 <= int(text) <= count):
            raise OptionError(f"/part {text.strip()} came; expected a number from 1 to {count}.")
        return int(text) - 1

    def _answer(self, question: str) -> None:
        """Print the answer as it comes. Ctrl-C ends it; what was said so far is kept."""
        asked = self._talk.ask(question, self._part)
        said: list[str] = []
        stream: Any = self._speaker.reply(asked)
        try:
            with closing(stream):
                for piece in stream:
                    said.append(piece)
                    typer.echo(talking.printable(piece), nl=False)
                    sys.stdout.flush()
        except KeyboardInterrupt:
            said.append(" ...")
            typer.echo(" ...", nl=False)
        finally:
            typer.echo()
        self._talk = asked.answered("".join(said))
