"""Checkpoints that are a repository of the Hugging Face hub: folders of several files.

No checksum stands here for them, because their publishers' are not known; what was loaded is told
by the fingerprint of the model.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path

from blemish.errors import WeightsError
from blemish.settings import settings
from blemish.weights._sources import reason


@dataclass(frozen=True)
class Kind:
    """Checkpoints of one kind: which files at the top of a repository make one.

    Attributes:
        what: such a checkpoint, for messages.
        files: patterns of those that are all fetched.
        one_of: names or patterns of files of weights, best first. Only the first that a
            repository has is fetched, because some have the same weights several times; gigabytes
            each.
    """

    what: str
    files: tuple[str, ...]
    one_of: tuple[str, ...] = ()


CLIP = Kind(
    "CLIP checkpoint",
    ("*.json", "merges.txt"),
    (
        *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        *("model.safetensors", "pytorch_model.bin"),
    ),
)
CAUSAL = Kind(
    "language model",
    ("*.json", "*.jinja", "*.txt", "*.model"),
    ("model*.safetensors", "pytorch_model*.bin"),
)
"""The second is Vicuna's format: a pickle, of which `transformers` reads nothing but tensors."""
KINDS = {kind.what: kind for kind in (CLIP, CAUSAL)}


@dataclass(frozen=True)
class CheckpointRow:
    """A checkpoint that has a name here.

    Attributes:
        name: what `pull` takes.
        what: the model, in a few words.
        licence: under which its publisher gives it.
        repository: on the hub.
        files: names of its publisher's own files, which will do in its place.
        kind: of KINDS.
    """

    name: str
    what: str
    licence: str
    repository: str
    files: tuple[str, ...] = ()
    kind: str = CLIP.what

    def in_folder(self) -> Path | None:
        """Where it lies in the folder that BLEMISH_WEIGHTS names: a folder or a file."""
        own = settings().weights
        places = (self.name, self.repository.split("/")[1], *self.files)
        found = [] if own is None else [own / p for p in places if (own / p).exists()]
        return found[0] if found else None

    def here(self) -> Path | None:
        """Where it lies on this machine; no network is asked."""
        return self.in_folder() or _in_cache(self.repository, KINDS[self.kind])


def repository(name: str, kind: Kind, known_as: str = "") -> Path:
    """The folder of the hub's cache that holds a repository, fetched where that is allowed.

    Args:
        name: such as "owner/model".
        kind: of checkpoint.
        known_as: under which the folder that BLEMISH_WEIGHTS names was looked into, if it was.

    Raises:
        WeightsError: it cannot be had; names the places, the reason and the cure.
    """
    from huggingface_hub import constants, model_info, snapshot_download

    # The hub's client reads these when it is imported, which may have been before they were set.
    flags = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    said = next(
        (f for f in flags if os.environ.get(f, "").upper() in ("1", "ON", "YES", "TRUE")), ""
    )
    offline = bool(said) or constants.HF_HUB_OFFLINE
    wanted = list(kind.files)
    try:
        if kind.one_of and not offline:
            # Asked once, where the client's own list of files keeps on asking a dead network.
            there = [file.rfilename for file in model_info(name).siblings or ()]
            wanted += [one for one in kind.one_of if fnmatch.filter(there, one)][:1]
        folder = snapshot_download(
            name, local_files_only=offline, allow_patterns=wanted, ignore_patterns="*/*"
        )
        return Path(folder)
    # It raises errors of its own, of the HTTP library and of the system.
    except Exception as error:
        if kept := _in_cache(name, kind):
            return kept
        why = f"{said or 'HF_HUB_OFFLINE'} forbids the network" if offline else reason(error)
        raise WeightsError(_missing(name, kind, known_as, why.rstrip("."))) from error


def _missing(name: str, kind: Kind, known_as: str, why: str) -> str:
    """What to say where a repository cannot be had: where it was looked for, why, and the cure."""
    from huggingface_hub import constants

    looked, folder = "There is no such folder. Looked in", "FOLDER"
    cure = "name that folder instead."
    if known_as:
        own = settings().weights or "not set"
        looked = f"Looked in the folder that BLEMISH_WEIGHTS names ({own}),"
        folder, cure = known_as, "set BLEMISH_WEIGHTS to the folder that holds that folder."
    return (
        f"The {kind.what} {known_as or name} is not at hand. {looked} the hub's cache, "
        f"{constants.HF_HUB_CACHE}, and on the hub, {name}: {why}. To bring it by hand, run on a "
        f"connected machine\n    hf download {name} --local-dir {folder}\nand {cure}"
    )


def _in_cache(name: str, kind: Kind) -> Path | None:
    """The folder of the hub's cache that holds a repository with one of its files of weights."""
    from huggingface_hub import try_to_load_from_cache

    # It raises ValueError for a name that no repository can have.
    with contextlib.suppress(ValueError):
        for file in ("config.json", *kind.one_of):
            found = try_to_load_from_cache(name, file)
            folder = Path(found).parent if isinstance(found, str) else None
            if folder and any(path for one in kind.one_of for path in folder.glob(one)):
                return folder
    return None
