"""A fitted detector as a folder: detector.json and state.safetensors."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blemish.errors import OutputError, SavedError
from blemish.types import Sample

FORMAT = 1
HEADER = "detector.json"
STATE = "state.safetensors"
_KEYS = {
    *("name", "options", "parts", "fingerprints", "seed", "calibration", "references"),
    "state_sha256",
}


def content(sample: Sample) -> str:
    """sha256 of a sample's pixels, in hexadecimal: the same for the same views."""
    digest = hashlib.sha256()
    for view in sample.images:
        digest.update(str(view.shape).encode())
        digest.update(np.ascontiguousarray(view).data)
    return digest.hexdigest()


def fingerprint(*parts: Any) -> str:
    """A short hash of JSON values; changes whenever one of them does."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def digest(data: bytes) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def header(detector: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What detector.json says of a detector over an encoder."""
    return {
        "name": detector.name,
        "options": dict(options),
        "parts": {name: part.name for name, part in detector.parts.items()},
        "fingerprints": detector.fingerprints,
        "seed": detector.seed,
        "calibration": detector.calibration.to_json() if detector.calibration else None,
        "references": detector.references,
    }


def write(
    folder: Path, header: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]
) -> None:
    """Write both files; the header last, so that a folder with a header is whole.

    Raises:
        OutputError: the folder cannot be written.
    """
    from safetensors.numpy import save

    state = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    full = {"format": FORMAT, **header, "state_sha256": digest(state)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in ((STATE, state), (HEADER, json.dumps(full, indent=1).encode())):
            temporary = folder / f".{name}.{os.getpid()}"
            temporary.write_bytes(data)
            os.replace(temporary, folder / name)
    except OSError as cause:
        raise OutputError(
            f"The detector could not be saved to {folder} ({cause.strerror or cause}). Choose a "
            "folder that can be written, or make room."
        ) from cause


def read_header(folder: Path) -> dict[str, Any]:
    """detector.json of a saved detector. Raises SavedError where it is not one of this version."""
    path = folder / HEADER
    try:
        header = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as cause:
        raise SavedError(
            f"{folder} is not a saved detector: {HEADER} is missing or cannot be read ({cause})."
        ) from cause
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SavedError(
            f"{path} has format {header.get('format') if isinstance(header, dict) else '?'}; this "
            f"version of blemish reads format {FORMAT}. Fit the detector again with this version."
        )
    missing = _KEYS - set(header)
    if missing:
        raise SavedError(
            f"{path} lacks {', '.join(sorted(missing))}: the folder is damaged. Restore it from a "
            "copy, or fit the detector again."
        )
    return header


def read_state(folder: Path, header: Mapping[str, Any]) -> dict[str, NDArray[np.generic]]:
    """The arrays of a saved detector. Raises SavedError where they are missing or damaged."""
    from safetensors.numpy import load

    try:
        data = (folder / STATE).read_bytes()
    except OSError as cause:
        raise SavedError(f"{folder / STATE} cannot be read ({cause}).") from cause
    if digest(data) != header.get("state_sha256"):
        raise SavedError(
            f"{folder / STATE} does not match the checksum in {HEADER}: the folder is damaged. "
            "Restore it from a copy, or fit the detector again."
        )
    return dict(load(data))


def distinct(samples: Sequence[Sample]) -> list[Sample]:
    """The samples without those whose pixels came before: a picture given twice counts once."""
    kept: dict[str, Sample] = {}
    for sample in samples:
        kept.setdefault(content(sample), sample)
    return list(kept.values())


def described(references: Sequence[Sample]) -> list[dict[str, str]]:
    """Id and content hash of each reference, for detector.json, run.json and evidence."""
    return [{"id": r.id, "sha256": content(r)} for r in references]
