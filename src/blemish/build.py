"""The one place where names become assembled detectors."""

from __future__ import annotations

import ctypes.util
import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from blemish import registry
from blemish.conversation import Speaker
from blemish.errors import OptionError, SavedError, unfit
from blemish.settings import settings as app_settings
from blemish.types import ChatModel, Detector, Encoder


def load(
    name: str | Path,
    *,
    device: str = "auto",
    dtype: str = "auto",
    batch_size: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Detector:
    """A detector, ready but for `fit` where it needs normal parts; or a saved one, fitted.

    Args:
        name: a registered name (`blemish detectors` lists them), or the folder of a saved
            detector.
        device: "auto" (the first GPU that torch can use, else the CPU), "cpu", or a torch device.
        dtype: "auto" (float32 on the CPU, float16 elsewhere), or what the encoder offers, such as
            "int8" on the CPU.
        batch_size: images a pass of the encoder; its own choice where None.
        seed: of everything random.
        options: the detector's own options and its parts, such as encoder="efficientnet-lite0"; a
            part may also be a ready object.

    Raises:
        OptionError: an unknown name, option, device or dtype, or a wrong value.
        SavedError: the folder is damaged, of another version, or made with other weights.
        WeightsError: the default weights cannot be had.

    The same bytes come out for the same device, threads and batch size.
    """
    if isinstance(name, Path) or _is_folder(name):
        return _restore(Path(name), device, dtype, batch_size, options)
    return _assemble(str(name), device, dtype, batch_size, seed, options)


def _assemble(
    name: str,
    device: str,
    dtype: str,
    batch_size: int | None,
    seed: int,
    options: Mapping[str, Any],
) -> Detector:
    entry = registry.detector(name)
    parts = {part: options.get(part, default) for part, default in entry.parts.items()}
    own = {k: v for k, v in options.items() if k not in entry.parts}
    checked = _checked(entry, own)
    where = device_named(device)
    kind = dtype if dtype != "auto" else ("float32" if where == "cpu" else "float16")
    size = {} if batch_size is None else {"batch_size": batch_size}
    if batch_size is not None and batch_size < 1:
        raise OptionError(f"batch_size is {batch_size}; expected at least 1.")
    built = {
        part: _part(entry, checked, part, choice, device=where, dtype=kind, **size)
        if isinstance(choice, str)
        else choice
        for part, choice in parts.items()
        if choice not in ("", None)
    }
    if entry.needs == "language model" and "language_model" not in built:
        raise OptionError(
            f"{name} asks a language model, and none was named. Name one: language_model="
            "'openai:gpt-5' (on the command line: --llm openai:gpt-5), 'local:FOLDER' for a model "
            "that runs here, or 'scripted:FILE'."
        )
    return cast(Detector, registry.resolve(entry.target)(**built, options=checked, seed=seed))


def _part(
    entry: registry.DetectorEntry, options: Any, part: str, choice: str, **settings: Any
) -> Any:
    """A part by its name, for a detector with these options."""
    here = {k: settings[k] for k in ("device", "dtype")}
    if part == "encoder":
        return encoder(choice, **settings)
    if part == "language_model" and entry.embeds:
        # The encoder may count in 8 bits, the language model does not.
        dtype = "float32" if here["device"] == "cpu" else here["dtype"]
        make = registry.resolve("blemish.llms.causal:Causal")
        return make(choice, device=here["device"], dtype=dtype, **options.causal())
    if part in ("language_model", "speaker"):
        return language_model(choice, **here)
    if part == "map_source":
        return load(choice, **settings)
    return segmenter(choice, device=settings["device"])


def check(name: str, options: Mapping[str, Any]) -> None:
    """Refuse what `load` would refuse of names and options; nothing is built or fetched.

    Raises:
        OptionError: an unknown name or option, or a wrong value.
    """
    entry = registry.detector(name)
    _checked(entry, {k: v for k, v in options.items() if k not in entry.parts})
    if isinstance(chosen := options.get("encoder"), str):
        registry.encoder(chosen)


def own_speaker(detector: Detector) -> Speaker | None:
    """The detector's own language model, where it has one that talks."""
    speaker = getattr(detector, "speaker", None)
    return speaker() if speaker and getattr(detector, "language_model", None) else None


def language_model(
    name: str, *, device: str = "auto", dtype: str = "auto", cache: str = "use", **settings: Any
) -> ChatModel:
    """A language model by its kind and name, with its replies kept on disk.

    Args:
        name: such as "openai:gpt-5", "local:FOLDER_OR_HUB_NAME" or "scripted:FILE".
        device: of a local model.
        dtype: of a local model; "auto" is the checkpoint's own.
        cache: "use", "only" (a question that was not asked before is an error) or "off".
        settings: of the model, such as base_url or budget; see its class.

    Raises:
        OptionError: an unknown kind, or a wrong setting.
        WeightsError: a local model cannot be loaded.
    """
    kind, colon, rest = name.partition(":")
    if not (colon and rest):
        raise OptionError(
            f"Language model '{name}' came; expected KIND:NAME, such as openai:gpt-5. Kinds: "
            f"{', '.join(registry.language_models())}."
        )
    entry = registry.language_model(kind)
    if entry.local:
        settings |= {"device": device_named(device), "dtype": dtype}
    make = registry.resolve(entry.target)
    model = make(rest, **_settings(name, make, settings))
    if cache == "off" or kind == "scripted":
        return cast(ChatModel, model)
    cached = registry.resolve("blemish.llms.cache:Cached")
    return cast(ChatModel, cached(model, app_settings().cache / "replies", mode=cache))


def _restore(
    folder: Path, device: str, dtype: str, batch_size: int | None, options: Mapping[str, Any]
) -> Detector:
    saved = registry.resolve("blemish.detectors._saved:read_header")(folder)
    replaceable = registry.detector(saved["name"]).parts
    if fixed := [option for option in options if option not in replaceable]:
        raise OptionError(
            f"{folder} is a saved detector with its own options; {', '.join(fixed)} cannot be "
            "changed now. Load it by its name and fit it again, or move its operating point with "
            "`blemish calibrate`."
        )
    parts = dict(saved["parts"])
    if "map_source" in parts:  # a saved detector inside this one's folder
        parts["map_source"] = str(folder / parts["map_source"])
    parts |= options
    chats = "speaker" if registry.detector(saved["name"]).embeds else "language_model"
    if chats in parts and chats not in options:
        raise OptionError(
            f"{folder} was saved with the language model {parts[chats]}, whose address and "
            f"settings are not saved. Name it again: {chats}='openai:{parts[chats]}'."
        )
    blank = _assemble(
        saved["name"], device, dtype, batch_size, saved["seed"], {**saved["options"], **parts}
    )
    for part, fingerprint in saved["fingerprints"].items():
        found = cast(Any, blank).fingerprints.get(part)
        if found != fingerprint:
            raise SavedError(
                f"{folder} was saved with {part.replace('_', ' ')} {fingerprint}, this one is "
                f"{found}. Load it with the same device and dtype, or fit it again."
            )
    state = registry.resolve("blemish.detectors._saved:read_state")(folder, saved)
    return cast(Detector, cast(Any, blank).restore(saved, state))


def speaker(model: str | ChatModel, **settings: Any) -> Speaker:
    """Who talks about inspections of any detector: a chat model that sees pictures.

    Args:
        model: such as "openai:gpt-5", or one that is there.
        settings: of a model that is named; see `language_model`.

    Raises:
        OptionError, WeightsError: as `language_model`.
    """
    made = language_model(model, **settings) if isinstance(model, str) else model
    return cast(Speaker, registry.resolve("blemish.detectors._chat_speaker:ChatSpeaker")(made))


def encoder(name: str, **settings: Any) -> Encoder:
    """An encoder by its registered name, or such as "clip:FOLDER_OR_HUB_NAME".

    `settings` are device, dtype and batch_size.

    Raises:
        OptionError: an unknown name or dtype, or a checkpoint for an encoder that takes none.
        WeightsError: its weights cannot be had.
    """
    entry = registry.encoder(name)
    checkpoint = name.partition(":")[2] or entry.name
    return cast(Encoder, registry.resolve(entry.target)(checkpoint, **settings))


def segmenter(name: str, *, device: str = "auto") -> Any:
    """What divides pictures for regions="sam": a SAM checkpoint's folder, or its name on the hub.

    Raises:
        WeightsError: it cannot be loaded.
    """
    return registry.resolve("blemish.regions.sam:Sam")(name, device=device_named(device))


def _checked(entry: registry.DetectorEntry, options: Mapping[str, Any]) -> Any:
    """The options as the detector's own model, or an OptionError in words."""
    return _valid(entry.name, registry.resolve(entry.options), options, entry.parts)


def _settings(name: str, make: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the types that a language model declares, or an OptionError in words."""
    from pydantic import ConfigDict, create_model

    taken = inspect.signature(make, eval_str=True).parameters.values()
    fields: dict[str, Any] = {
        p.name: (
            Any if p.annotation is p.empty else p.annotation,
            ... if p.default is p.empty else p.default,
        )
        for p in taken
        if p.kind is p.KEYWORD_ONLY
    }
    config = ConfigDict(
        extra="allow" if any(p.kind is p.VAR_KEYWORD for p in taken) else "forbid",
        arbitrary_types_allowed=True,
        coerce_numbers_to_str=True,  # a key may have nothing but digits
    )
    valid = _valid(name, create_model("Settings", __config__=config, **fields), given)
    return {setting: getattr(valid, setting) for setting in given}


def _valid(name: str, model: Any, options: Mapping[str, Any], others: Collection[str] = ()) -> Any:
    """Options as an object of a model of pydantic; `others` exist beside those of the model."""
    from pydantic import ValidationError

    try:
        return model(**options)
    except ValidationError as cause:
        raise unfit(name, cause, [*model.model_fields, *others]) from cause


def device_named(device: str) -> str:
    """A device that is there; "auto" is the first GPU that torch can use, else the CPU.

    Raises:
        OptionError: it cannot be used here.
    """
    if device == "cpu":
        return device
    # Importing torch takes seconds, so it is asked only where a GPU driver is installed.
    if device == "auto" and not any(map(ctypes.util.find_library, ("cuda", "nvcuda"))):
        return "cpu"
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as cause:
        reason = str(cause).splitlines()[0]
        raise OptionError(
            f"Device '{device}' cannot be used here ({reason}). Use 'auto' or 'cpu'."
        ) from cause
    return device


def _is_folder(name: str) -> bool:
    if name in registry.detectors():
        return False
    path = Path(name)
    return path.is_dir() or len(path.parts) > 1
