"""Few-shot detection with a memory bank of normal patches.

AnomalyGPT (2308.15366), equation 2, without the language model; `_bank` has the formula.
"""

from __future__ import annotations

from blemish.detectors._bank import BankDetector, BankOptions


class PatchMemoryOptions(BankOptions):
    """Options of `patch-memory`; see `BankOptions`."""


class PatchMemory(BankDetector[PatchMemoryOptions]):
    """The detector. `blemish.load("patch-memory")` builds it; see `BankDetector`."""

    name = "patch-memory"
    too_few = (
        "patch-memory compares a part with normal ones, and none came. Give at least one "
        "picture of a normal part (on the command line: --normal FILE_OR_FOLDER)."
    )
