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
        few_shot: it needs no references, but finds more with them.
        embeds: its language model reads embeddings, and goes by the name of a checkpoint; a chat
            model may be its speaker.
        parts: part name, such as "encoder", to the registered name that fills it by default; ""
            where there is none.
        licence: of the default weights.
    """

    name: str
    target: str
    options: str
    summary: str
    needs: Needs = "nothing"
    few_shot: bool = False
    embeds: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True)
class LanguageModelEntry:
    """A kind of language model: its name, the part before the colon in "openai:gpt-4o".

    Attributes:
        name: of the kind.
        target: what makes the model from the part after the colon, as "module:name"; settings
            are its keyword-only arguments, and are checked against their annotations.
        summary: one line about it.
        local: it runs here, and takes a device and a dtype.
    """

    name: str
    target: str
    summary: str
    local: bool = False


@dataclass(frozen=True)
class EncoderEntry:
    """One image encoder.

    Attributes:
        name: what a user types.
        target: the class, as "module:Name"; imported only when it is built.
        summary: one line about it.
        anywhere: the name is one of a kind, and a colon and a checkpoint follow it: a folder, a
            file or a name on the hub.
    """

    name: str
    target: str
    summary: str
    anywhere: bool = False


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
    DetectorEntry(
        name="patchcore",
        target="blemish.detectors.patchcore:PatchCore",
        options="blemish.detectors.patchcore:PatchCoreOptions",
        summary="baseline: the nearest of a coreset of normal patches, layers joined",
        needs="references",
        parts={"encoder": "efficientnet-lite0"},
        licence="Apache-2.0",
    ),
    DetectorEntry(
        name="spade",
        target="blemish.detectors.spade:Spade",
        options="blemish.detectors.spade:SpadeOptions",
        summary="baseline: correspondences with the most similar normal pictures",
        needs="references",
        parts={"encoder": "efficientnet-lite0"},
        licence="Apache-2.0",
    ),
    DetectorEntry(
        name="padim",
        target="blemish.detectors.padim:PaDiM",
        options="blemish.detectors.padim:PaDiMOptions",
        summary="baseline for aligned pictures: a Gaussian of normal patches at each place",
        needs="references",
        parts={"encoder": "efficientnet-lite0"},
        licence="Apache-2.0",
    ),
    DetectorEntry(
        name="clip-ac",
        target="blemish.detectors.clip_ac:ClipAC",
        options="blemish.detectors.clip_ac:ClipACOptions",
        summary="baseline: the picture as a whole between two texts, no map",
        parts={"encoder": "clip-vit-b-16-plus-240"},
        licence="MIT",
    ),
    DetectorEntry(
        name="winclip",
        target="blemish.detectors.winclip:WinCLIP",
        options="blemish.detectors.winclip:WinCLIPOptions",
        summary="baseline: windows of the picture between an ensemble of texts",
        few_shot=True,
        parts={"encoder": "clip-vit-b-16-plus-240"},
        licence="MIT",
    ),
    DetectorEntry(
        name="anovl",
        target="blemish.detectors.anovl:AnoVL",
        options="blemish.detectors.anovl:AnoVLOptions",
        summary="baseline: patches by V-V attention between domain-aware texts",
        parts={"encoder": "clip-vit-b-16-plus-240"},
        licence="MIT",
    ),
    DetectorEntry(
        name="alfa",
        target="blemish.detectors.alfa:ALFA",
        options="blemish.detectors.alfa:ALFAOptions",
        summary="zero-shot: prompts of a language model, chosen for each picture; says why",
        few_shot=True,
        parts={"encoder": "clip-vit-b-16-plus-240", "language_model": ""},
        licence="MIT",
    ),
    DetectorEntry(
        name="anomalygpt",
        target="blemish.detectors.anomalygpt:AnomalyGPT",
        options="blemish.detectors.anomalygpt:AnomalyGPTOptions",
        summary="a small language model that reads picture and map, and answers in words",
        few_shot=True,
        embeds=True,
        parts={"encoder": "dinov2-small", "language_model": "smollm2-135m", "speaker": ""},
        licence="Apache-2.0",
    ),
    DetectorEntry(
        name="iad-gpt",
        target="blemish.detectors.iad_gpt:IADGPT",
        options="blemish.detectors.iad_gpt:IADGPTOptions",
        summary="anomalygpt with abnormal prompts, and masks of every layer; names the kind",
        few_shot=True,
        embeds=True,
        parts={"encoder": "dinov2-small", "language_model": "smollm2-135m", "speaker": ""},
        licence="Apache-2.0",
    ),
    DetectorEntry(
        name="gpt4v-ad",
        target="blemish.detectors.gpt4v_ad:GPT4VAD",
        options="blemish.detectors.gpt4v_ad:GPT4VADOptions",
        summary="asks a vision-language model about numbered regions of the picture",
        needs="language model",
        parts={"language_model": "", "segmenter": "", "map_source": ""},
        licence="the model's own",
    ),
    DetectorEntry(
        name="vqa",
        target="blemish.detectors.vqa:VQA",
        options="blemish.detectors._vqa_options:VQAOptions",
        summary="asks a vision-language model in words: pictures, frames, depth, plots",
        needs="language model",
        parts={"language_model": "", "segmenter": ""},
        licence="the model's own",
    ),
)

LANGUAGE_MODELS = (
    LanguageModelEntry(
        name="openai",
        target="blemish.llms.openai_api:OpenAIChat",
        summary="any OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, llama.cpp",
    ),
    LanguageModelEntry(
        name="local",
        target="blemish.llms.local:LocalChat",
        summary="a transformers image-text-to-text model, from the hub or a folder",
        local=True,
    ),
    LanguageModelEntry(
        name="scripted",
        target="blemish.llms.scripted:Scripted.from_file",
        summary="replies from a JSON file, for tests and demonstrations",
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
    EncoderEntry(
        name="clip-vit-b-16-plus-240",
        target="blemish.encoders.clip:Clip",
        summary="CLIP ViT-B/16+ at 240 px, LAION-400M: text beside patches; from the hub",
    ),
    EncoderEntry(
        name="clip-vit-l-14-336",
        target="blemish.encoders.clip:Clip",
        summary="CLIP ViT-L/14 at 336 px, OpenAI: text beside patches; from the hub",
    ),
    EncoderEntry(
        name="clip-vit-h-14",
        target="blemish.encoders.clip:Clip",
        summary="CLIP ViT-H/14 at 224 px, LAION-2B: text beside patches; from the hub",
    ),
    EncoderEntry(
        name="clip",
        target="blemish.encoders.clip:Clip",
        summary="any CLIP, as clip:FOLDER_OR_HUB_NAME, in transformers' or open_clip's format",
        anywhere=True,
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


@cache
def language_models() -> dict[str, LanguageModelEntry]:
    """Every kind of language model that is installed, by name."""
    return _installed("blemish.llms")


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
    """The record of one encoder, for "clip:FOLDER" that of "clip".

    Raises:
        OptionError: there is none; or it takes no checkpoint and one came, or the other way round.
    """
    kind, colon, checkpoint = name.partition(":")
    entry = _find(encoders(), kind, "encoder")
    if entry.anywhere and not checkpoint:
        raise OptionError(
            f"Encoder '{name}' came without a checkpoint. Name one: {entry.name}:FOLDER, or "
            f"{entry.name}:OWNER/MODEL for one on the hub."
        )
    if colon and not entry.anywhere:
        takers = ", ".join(f"{e.name}:FOLDER" for e in encoders().values() if e.anywhere)
        raise OptionError(
            f"Encoder '{name}' came; {entry.name} has one checkpoint and takes no other. Leave out "
            f"what follows its name, or name another encoder: {takers}."
        )
    return entry


def language_model(name: str) -> LanguageModelEntry:
    """The record of one kind of language model. Raises OptionError with the nearest names."""
    return _find(language_models(), name, "kind of language model")


def _find(table: Mapping[str, _Entry], name: str, what: str) -> _Entry:
    entry = table.get(name) or table.get(name.replace("_", "-"))
    if entry is None:
        raise OptionError(f"There is no {what} called '{name}'. {nearest(name, table)}")
    return entry


def resolve(target: str) -> Any:
    """Import what "module:Name" names."""
    module, _, names = target.partition(":")
    found: Any = import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    return found
