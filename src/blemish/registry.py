"""Names and what they stand for: a record as data for every detector and encoder.

The built-in ones come in through the same door as anyone's: an entry point in the group
`blemish.detectors` or `blemish.encoders` that names a tuple of records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Literal, TypeVar

from blemish.errors import OptionError, nearest

_Entry = TypeVar("_Entry")
Needs = Literal["nothing", "references", "folder", "language model"]


@dataclass(frozen=True)
class DetectorEntry:
    """One detector.

    Attributes:
        name: what a user types.
        target: the class, as "module:Name"; imported only when it is built.
        options: its options model (a pydantic class), as "module:Name".
        summary: one line for `blemish detectors`.
        needs: what it needs from the user beside the pictures to inspect.
        parts: part name, such as "encoder", to the registered name that fills it by default.
        licence: of the default weights.
    """

    name: str
    target: str
    options: str
    summary: str
    needs: Needs = "nothing"
    parts: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True)
class EncoderEntry:
    """One image encoder: its name, its class as "module:Name", and a line about it."""

    name: str
    target: str
    summary: str


DETECTORS = (
    DetectorEntry(
        name="patch-memory",
        target="blemish.detectors.patch_memory:PatchMemory",
        options="blemish.detectors.patch_memory:PatchMemoryOptions",
        summary="few-shot: compares every patch with a memory bank of normal parts",
        needs="references",
        parts={"encoder": "dinov2-small"},
        licence="MIT",
    ),
    DetectorEntry(
        name="musc",
        target="blemish.detectors.musc:MuSc",
        options="blemish.detectors.musc:MuScOptions",
        summary="no references: judges the pictures of one folder against each other",
        needs="folder",
        parts={"encoder": "dinov2-small"},
        licence="MIT",
    ),
)

ENCODERS = (
    EncoderEntry(
        name="dinov2-small",
        target="blemish.encoders.dinov2:Dinov2",
        summary="DINOv2 ViT-S/14 patch tokens",
    ),
    EncoderEntry(
        name="efficientnet-lite0",
        target="blemish.encoders.efficientnet_lite:EfficientNetLite",
        summary="small ImageNet CNN: the fast alternative",
    ),
)


@cache
def detectors() -> dict[str, DetectorEntry]:
    """Every detector that is installed, by name."""
    return _installed("blemish.detectors")


@cache
def encoders() -> dict[str, EncoderEntry]:
    """Every encoder that is installed, by name."""
    return _installed("blemish.encoders")


def _installed(group: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Sorted, so that a name claimed twice is reported the same way on every machine.
    for point in sorted(entry_points(group=group), key=lambda p: (p.name != "blemish", p.value)):
        for entry in point.load():
            if entry.name in found and found[entry.name] != entry:
                raise OptionError(
                    f"{point.value} registers '{entry.name}' in {group}, but that name is taken "
                    f"by {found[entry.name].target}. Uninstall one of the two packages."
                )
            found[entry.name] = entry
    return found


def detector(name: str) -> DetectorEntry:
    """The record of one detector. Raises OptionError with the nearest names."""
    return _find(detectors(), name, "detector")


def encoder(name: str) -> EncoderEntry:
    """The record of one encoder. Raises OptionError with the nearest names."""
    return _find(encoders(), name, "encoder")


def _find(table: Mapping[str, _Entry], name: str, what: str) -> _Entry:
    entry = table.get(name.replace("_", "-"))
    if entry is None:
        raise OptionError(f"There is no {what} called '{name}'. {nearest(name, table)}")
    return entry


def resolve(target: str) -> Any:
    """Import what "module:Name" names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)
