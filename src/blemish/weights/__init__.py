"""Weights: one table as data, sources tried in order, every file checked against its sha256.

`table.json` beside this file states for each set of weights what it is, its licence, where it
comes from and its sha256. Files are kept below `settings().cache`; a folder that BLEMISH_WEIGHTS
names is looked into before any network. Checkpoints that are repositories of the hub stand in the
same file; they have no checksum, and the hub's client keeps them: see `_hub`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blemish.errors import OptionError, WeightsError, nearest
from blemish.settings import settings
from blemish.weights._convert import CONVERSIONS
from blemish.weights._folders import digest_folder, kept_folder
from blemish.weights._gguf import FOLDERS
from blemish.weights._hub import CAUSAL, CLIP, KINDS, CheckpointRow, Kind, repository
from blemish.weights._sources import (
    Attempt,
    Progress,
    Wheel,
    digest,
    from_folder,
    from_hub,
    from_index,
    install,
    member,
    obtain,
    reason,
    scratch_beside,
)

__all__ = ["Progress", "State", "WeightsRow", "pull", "row", "table", "tensors", "verify", "wheel"]
__all__ += ["CAUSAL", "CLIP", "CheckpointRow", "Kind", "checkpoints", "reason", "repository"]
__all__ += ["digest_folder", "folder"]

State = Literal["ok", "not here", "damaged", "unchecked"]
"""Of a set of weights here; "unchecked" is here, but no checksum of it is known."""

_TABLE = Path(__file__).with_name("table.json")
_CONVERSION = 1
"""Goes up whenever a conversion gives other tensors, so that older converted files are redone."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsRow:
    """One set of weights.

    Attributes:
        name: what `pull` and `tensors` take.
        what: the model, in a few words.
        licence: under which its publisher gives it.
        origin: where it comes from, as far as is known.
        file: name of the published file.
        sha256: of that file.
        bytes: of that file.
        conversion: how the file becomes tensors, a key of `_convert.CONVERSIONS`, or a folder, one
            of `_gguf.FOLDERS`.
        sources: where the file is looked for, in this order. "from" is "folder", "hub" (with
            "repo", "file", "revision") or "wheel" (with "requirement", "member").
    """

    name: str
    what: str
    licence: str
    origin: str
    file: str
    sha256: str
    bytes: int
    conversion: str
    sources: tuple[Mapping[str, str], ...]


def table() -> tuple[WeightsRow, ...]:
    """All weights whose checksum is known."""
    return tuple(_read_table(_TABLE)[0].values())


def checkpoints() -> tuple[CheckpointRow, ...]:
    """The checkpoints of the hub that have a name; their checksums are not known."""
    return tuple(_read_table(_TABLE)[2].values())


def row(name: str) -> WeightsRow:
    """One row of the table.

    Raises:
        OptionError: no such name.
    """
    rows = _read_table(_TABLE)[0]
    if name not in rows:
        known = [*rows, *(checkpoint.name for checkpoint in checkpoints())]
        raise OptionError(f"There are no weights {name!r}. {nearest(name, known)}")
    return rows[name]


def pull(name: str, progress: Progress | None = None) -> Path:
    """Bring weights into the cache, unless they are there.

    Args:
        name: of a row of `table` or of `checkpoints`.
        progress: called with bytes done and in all, a few times a second, from another thread; for
            a checkpoint the hub's client shows its own.

    Returns:
        The cached file, its sha256 checked. Of a checkpoint the folder, or the publisher's file in
        the folder that BLEMISH_WEIGHTS names, unchecked.

    Raises:
        OptionError: no such name.
        WeightsError: no source has the file, or the cache cannot be written.
    """
    named = _read_table(_TABLE)[2].get(name)
    if named is not None:
        return named.in_folder() or repository(named.repository, KINDS[named.kind], name)
    entry = row(name)
    attempts: list[Attempt] = []
    cures: list[str] = []
    for source in entry.sources:
        if source["from"] == "folder":
            attempts.append(from_folder(entry.file))
        elif source["from"] == "hub":
            attempts.append(from_hub(source, entry.bytes))
            cures.append(
                "hf download {repo} {file} --revision {revision} --local-dir .".format(**source)
            )
        else:
            packed = _wheel(source["requirement"])
            attempts.append(member(from_folder(packed.file), source["member"]))
            attempts.append(member(from_index(packed), source["member"]))
            cures.append(packed.command)
    what = f"{entry.file} of the weights {name!r}"
    target = _folder(entry) / entry.file
    return obtain(target, entry.sha256, attempts, what, _cure(cures), progress)


def wheel(requirement: str, progress: Progress | None = None) -> Path:
    """Bring a wheel of the table into the cache, unless it is there. It is not installed.

    Args:
        requirement: such as "elpv-dataset==1.0.0.post1".
        progress: as for `pull`.

    Returns:
        The cached wheel, its sha256 checked.

    Raises:
        OptionError: the table has no such wheel.
        WeightsError: no source has the wheel, or the cache cannot be written.
    """
    packed = _wheel(requirement)
    attempts = [from_folder(packed.file), from_index(packed)]
    target = settings().cache / "wheels" / packed.file
    what = f"The wheel {packed.file}"
    return obtain(target, packed.sha256, attempts, what, _cure([packed.command]), progress)


def tensors(name: str, progress: Progress | None = None) -> dict[str, NDArray[np.float32]]:
    """The weights as arrays, under the names of the model that uses them.

    The first call converts the published file and keeps the result in the cache as safetensors.

    Args:
        name: of a row of `table`.
        progress: as for `pull`.

    Returns:
        Name to float32 array. "dinov2-small" is the state dict of `transformers.Dinov2Model`.

    Raises:
        OptionError: no such name.
        WeightsError: the weights cannot be had.
    """
    entry = row(name)
    kept = _folder(entry) / f"{entry.name}.safetensors"
    found = _load(kept, entry)
    if found is None:
        found = CONVERSIONS[entry.conversion](pull(name, progress))
        try:
            _keep(found, kept, entry)
        except (OSError, WeightsError) as error:
            _log.warning("%s was converted, but could not be kept: %s", name, error)
    return found


def folder(name: str, progress: Progress | None = None) -> Path:
    """The weights of a language model as a folder that `transformers` loads.

    The first call converts the published file, and keeps the folder in the cache.

    Args:
        name: of a row of `table`, such as "smollm2-135m".
        progress: as for `pull`.

    Raises:
        OptionError: no such name, or not of a language model.
        WeightsError: the weights cannot be had, or the folder cannot be kept.
    """
    entry = row(name)
    make = FOLDERS.get(entry.conversion)
    if make is None:
        models = [row.name for row in table() if row.conversion in FOLDERS]
        raise OptionError(f"{name!r} is no language model. {nearest(name, models)}")
    return kept_folder(
        _folder(entry) / "transformers",
        _metadata(entry)["source"],
        lambda made: make(pull(name, progress), made),
    )


def verify() -> list[tuple[str, State]]:
    """Whether the file of each row is in the cache and whole, and each checkpoint at hand."""
    states: list[tuple[str, State]] = []
    for row in table():
        got = digest(_folder(row) / row.file)
        states.append((row.name, "ok" if got == row.sha256 else "damaged" if got else "not here"))
    for named in checkpoints():
        states.append((named.name, "unchecked" if named.here() else "not here"))
    return states


@cache
def _read_table(
    path: Path,
) -> tuple[dict[str, WeightsRow], dict[str, Wheel], dict[str, CheckpointRow]]:
    """Rows by name, wheels by requirement and checkpoints by name."""
    content = json.loads(path.read_text(encoding="utf-8"))
    rows = (WeightsRow(**row | {"sources": tuple(row["sources"])}) for row in content["weights"])
    wheels = (Wheel(**wheel) for wheel in content["wheels"])
    named = (
        CheckpointRow(**row | {"files": tuple(row["files"])}) for row in content["checkpoints"]
    )
    return (
        {row.name: row for row in rows},
        {wheel.requirement: wheel for wheel in wheels},
        {row.name: row for row in named},
    )


def _wheel(requirement: str) -> Wheel:
    wheels = _read_table(_TABLE)[1]
    if requirement not in wheels:
        raise OptionError(f"There is no wheel {requirement!r}. {nearest(requirement, wheels)}")
    return wheels[requirement]


def _folder(row: WeightsRow) -> Path:
    return settings().cache / "weights" / row.name


def _cure(commands: list[str]) -> str:
    return (
        f"To bring it by hand, run on a connected machine\n    {' or '.join(commands)}\n"
        "and set BLEMISH_WEIGHTS to the folder that holds the file."
    )


def _load(kept: Path, row: WeightsRow) -> dict[str, NDArray[np.float32]] | None:
    """The converted weights, or None where they are missing, damaged or of another source."""
    from safetensors import safe_open

    recorded = kept.with_name(kept.name + ".sha256")
    if not recorded.is_file() or recorded.read_bytes() != digest(kept).encode():
        return None
    with safe_open(kept, framework="numpy") as file:
        if file.metadata() != _metadata(row):
            return None
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _keep(found: Mapping[str, NDArray[np.float32]], kept: Path, row: WeightsRow) -> None:
    """Write converted weights, and beside them their own sha256."""
    from safetensors.numpy import save

    with scratch_beside(kept) as scratch:
        (scratch / "tensors").write_bytes(save(dict(found), metadata=_metadata(row)))
        (scratch / "sha256").write_bytes(digest(scratch / "tensors").encode())
        install(scratch / "tensors", kept)
        install(scratch / "sha256", kept.with_name(kept.name + ".sha256"))


def _metadata(row: WeightsRow) -> dict[str, str]:
    # One entry only: safetensors writes several in any order, and the bytes must be repeatable.
    return {"source": f"sha256 {row.sha256}, conversion {_CONVERSION}"}
