"""`blemish serve`: the inspection station, a web page and REST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from blemish.errors import BlemishError, InputError, MissingExtraError

HELP = (
    "Start the inspection station: a web page, REST and an endpoint for OpenAI's clients.\n\n"
    "It listens at this computer only; for any other --host it wants a token. Settings may also "
    "come from the environment: BLEMISH_SERVE_PORT=8080 and so on."
)
EXIT_CODES = "Exit codes: 0 stopped; 2 it could not start."


def serve(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "",
    port: Annotated[
        int | None, typer.Option(help="Its port; 0 for any that is free.", min=0, max=65535)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where pictures, detectors and results are kept.")
    ] = None,
    database: Annotated[
        str, typer.Option(metavar="URL", help="PostgreSQL instead of SQLite in the folder.")
    ] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A file with the token that clients must send.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", metavar="", help="Open the page in a browser.")
    ] = False,
) -> None:
    """See `HELP`."""
    try:
        from blemish.service import logs, server
        from blemish.service.app import create_app
    except ModuleNotFoundError as cause:
        if (cause.name or "").startswith("blemish"):
            raise
        raise MissingExtraError(
            f"The inspection station needs {cause.name}, which is not installed. Install it: "
            'pip install "blemish[serve]"'
        ) from cause
    from blemish.service.settings import ServiceSettings
    from blemish.service.station import Station

    named = {"host": host, "port": port, "folder": folder, "database": database}
    given = {name: value for name, value in named.items() if value not in ("", None)}
    if token_file:
        given["token"] = _token(token_file)
    settings = ServiceSettings.of(**given)
    logs.configure(settings.secrets)
    listening = server.listen(settings.host, settings.port)
    try:
        app = create_app(Station(settings))
    except BlemishError:
        listening.close()
        raise
    typer.echo(f"blemish serves {server.address(listening)} (Ctrl-C stops)", err=True)
    server.run(app, listening, show=show)


def _token(file: Path) -> str:
    """The token in a file, without the line end."""
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeError) as cause:
        raise InputError(f"The token cannot be read from {file}: {cause}.") from cause
    if not text:
        raise InputError(f"{file} holds no token. Write a long random text into it.")
    return text
