"""A run's folder: its files, who may write, and how they are written so that a kill harms none.

run.json            what was run, with what, how it went
inspections.jsonl   one line an image (inspections.schema.json beside this file)
overlays/  maps/    pictures with what was found drawn in; raw anomaly maps, if asked for
views/  points/     of recordings: the views that say most; point clouds coloured by their scores
report.html         all of it for a person
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blemish.errors import OutputError, SavedError

FORMAT = 1
"""Of run.json and of the rows; goes up when an older reader would misread them."""
ROWS, RECORD, REPORT = "inspections.jsonl", "run.json", "report.html"
OVERLAYS, MAPS, HEAT, VIEWS, POINTS = "overlays", "maps", "heat", "views", "points"
_LOCK = ".lock"
_NAMES = (ROWS, REPORT, OVERLAYS, MAPS, HEAT, VIEWS, POINTS)

Row = dict[str, Any]
"""One line of inspections.jsonl: an inspection, or a failure, which has "error"."""


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's."""
    return (folder / RECORD).is_file() and (folder / ROWS).is_file()


@contextlib.contextmanager
def opened(out: Path) -> Iterator[Path]:
    """Make a run's folder if need be, and hold it against other processes.

    Raises:
        OutputError: it cannot be written, holds something else, or another process has it.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; expected a folder for the results. Choose another.")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / _LOCK).open("ab")
    with lock:
        with writing(out):
            if not _locked(lock.fileno()):
                raise OutputError(
                    f"Another process is writing to {out}. Wait until it is done, or choose "
                    "another folder."
                )
        if not (out / RECORD).exists():
            others = [n for n in _NAMES if (out / n).exists()]
            if others:
                raise OutputError(
                    f"{out} holds {', '.join(others)}, but no {RECORD} that says of what run. "
                    "Choose a new or empty folder."
                )
        yield out


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn what the system says against writing into an OutputError."""
    try:
        yield
    except OSError as cause:
        raise OutputError(
            f"{out} cannot be written: {cause.strerror or cause}. Make room or give this account "
            "the permission to write, or choose another folder. What is done is kept: the same "
            "command goes on from there."
        ) from cause


def replace_file(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_record(out: Path) -> dict[str, Any] | None:
    """run.json, or None where there is none.

    Raises:
        SavedError: it is damaged or of another version.
    """
    path = out / RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as cause:
        raise SavedError(
            f"{path} cannot be read ({cause}). Choose another folder, or delete this one."
        ) from cause
    found = record.get("format") if isinstance(record, dict) else None
    if found != FORMAT:
        raise SavedError(
            f"{path} has format {found}; this version of blemish reads format {FORMAT}. Choose "
            "another folder."
        )
    return dict(record)


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Write run.json."""
    text = json.dumps({"format": FORMAT, **record}, indent=1, default=str) + "\n"
    with writing(out):
        replace_file(out / RECORD, text.encode())


def read_rows(out: Path) -> tuple[list[Row], int]:
    """The whole rows of a run, and how many lines are damaged.

    A process that was killed leaves at most a last line that is cut short.
    """
    path = out / ROWS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    rows = [row for row in map(_row, lines) if row]
    return rows, len(lines) - len(rows)


def write_rows(out: Path, rows: Sequence[Row]) -> None:
    """Replace all rows at once."""
    with writing(out):
        replace_file(out / ROWS, b"".join(map(_line, rows)))


def append_rows(out: Path, rows: Sequence[Row]) -> None:
    """Add rows; they are on the disk when this returns."""
    with writing(out), (out / ROWS).open("ab") as file:
        file.write(b"".join(map(_line, rows)))
        file.flush()
        os.fsync(file.fileno())


def _line(row: Row) -> bytes:
    return json.dumps(row, allow_nan=False).encode() + b"\n"


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(row, dict) and isinstance(row.get("id"), str)
    return row if whole else None


def _locked(descriptor: int) -> bool:
    """Take the lock, which the system gives back when the process ends, however it ends."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
