"""The command line: one short file per command."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Annotated

import typer

from blemish.cli import (
    annotate,
    ask,
    bench,
    calibrate,
    chat,
    compare,
    datasets,
    detectors,
    explain,
    figure,
    inspect,
    prompts,
    serve,
    train,
    weights,
)
from blemish.errors import BlemishError

app = typer.Typer(
    name="blemish",
    help="Inspect pictures of parts and say what is wrong with them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("inspect", help=inspect.HELP, epilog=inspect.EXIT_CODES, no_args_is_help=True)(
    inspect.inspect
)
app.command("chat", help=chat.HELP, epilog=chat.EXIT_CODES, no_args_is_help=True)(chat.chat)
app.command("ask", help=ask.HELP, epilog=ask.EXIT_CODES, no_args_is_help=True)(ask.ask)
app.command("annotate", help=annotate.HELP, epilog=annotate.EXIT_CODES, no_args_is_help=True)(
    annotate.annotate
)
app.command("explain", help=explain.HELP, epilog=explain.EXIT_CODES, no_args_is_help=True)(
    explain.explain
)
app.command("calibrate", no_args_is_help=True)(calibrate.calibrate)
app.command("detectors")(detectors.detectors)
app.command("bench", help=bench.HELP, epilog=bench.EXIT_CODES, no_args_is_help=True)(bench.bench)
app.command("compare", no_args_is_help=True)(compare.compare)
app.command("figure", no_args_is_help=True)(figure.figure)
app.command("serve", help=serve.HELP, epilog=serve.EXIT_CODES)(serve.serve)
app.add_typer(datasets.app, name="datasets")
app.add_typer(prompts.app, name="prompts")
app.add_typer(train.app, name="train")
app.add_typer(weights.app, name="weights")


def _print_version(wanted: bool) -> None:
    if wanted:
        from blemish import __version__

        typer.echo(f"blemish {__version__}")
        raise typer.Exit


@app.callback()
def _everywhere(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Print the version.", callback=_print_version),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", metavar="", help="Show where an error came from; works anywhere."),
    ] = False,
) -> None:
    """Inspect pictures of parts and say what is wrong with them."""


def main() -> None:
    """Run the command line; every error ends in one message and an exit code."""
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    debug = len(arguments) < len(sys.argv) - 1
    if debug:
        logging.basicConfig(format="%(name)s: %(message)s")
        logging.getLogger("blemish").setLevel(logging.DEBUG)
    try:
        app(arguments, prog_name="blemish")
    except BlemishError as error:
        if debug:
            traceback.print_exc()
        _leave(f"blemish: {error}", 2)
    except Exception as error:
        if debug:
            traceback.print_exc()
        _leave(
            f"blemish: sorry, this should not have happened ({type(error).__name__}: {error}). "
            "It is a mistake in blemish, not in what you did. Please run the command again with "
            "--debug and send what it prints, with the output of blemish --version, to whoever "
            "maintains your copy.",
            2,
        )


def _leave(message: str, code: int) -> None:
    print(message, file=sys.stderr)
    sys.exit(code)
