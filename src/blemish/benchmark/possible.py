"""What can run here, and with how many references: told before anything is loaded."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from blemish import registry
from blemish.benchmark import adapters
from blemish.benchmark.protocol import Run
from blemish.errors import OptionError


def encoder_of(detector: str, options: Mapping[str, Any]) -> str | None:
    """The encoder that a detector, or else its map source, is built with, by name."""
    source = options.get("map_source")
    if source in registry.detectors():
        return encoder_of(source, {})
    name: str | None = options.get("encoder", registry.detector(detector).parts.get("encoder"))
    return name


def embedded_of(detector: str, options: Mapping[str, Any]) -> str | None:
    """The language model that a detector shows embeddings to, by name; None where it has none."""
    entry = registry.detector(detector)
    return adapters.parts(entry, options)[1] if entry.embeds else None


MODELS = (encoder_of, embedded_of)


def asks(detector: str, options: Mapping[str, Any]) -> bool:
    """Whether a language model that is given is asked.

    It is not where the options name another, or go without what it would write; nor where the
    detector shows embeddings to one of its own.
    """
    entry = registry.detector(detector)
    if entry.embeds:
        return False
    if entry.needs == "language model":
        return not options.get("language_model")
    takes = "language_model" in entry.parts and options.get("llm_prompts", True)
    return bool(takes) and not {"language_model", "prompts"} & options.keys()


def needs_model(detector: str, options: Mapping[str, Any]) -> bool:
    """Whether a language model has to be given: what it would write does not ship."""
    needs = registry.detector(detector).needs
    ships = needs != "language model" and options.get("syntactic_consistency", True)
    return asks(detector, options) and not ships


def lacking(
    run: Run,
    data: Sequence[str],
    encoders: Collection[str] = (),
    language_model: bool = False,
) -> str:
    """Why a method cannot run here, in words; "" where it can, or is only quoted.

    Args:
        run: the method.
        data: the protocol's data sets.
        encoders: names beyond the registry's that the caller brings along.
        language_model: the caller brings one along.
    """
    if run.detector is None:
        return ""
    entry = registry.detectors().get(run.detector)
    if entry is None:
        return f"this version of blemish has no detector '{run.detector}' yet"
    encoder = encoder_of(run.detector, run.options)
    if encoder and encoder not in encoders and encoder not in registry.encoders():
        return f"this version of blemish has no encoder '{encoder}' yet"
    if unknown := _unknown(entry, run.options):
        return f"{entry.name} of this version of blemish has no option '{unknown}' yet"
    if needs_model(run.detector, run.options) and not language_model:
        return (
            f"{entry.name} needs a language model, and none is named: add --llm, such as "
            "--llm openai:gpt-5"
        )
    if lost := adapters.missing(run):
        return lost
    if run.train_on and not entry.embeds and entry.needs in ("nothing", "language model"):
        return f"{entry.name} cannot be trained, and {run.method} was trained on {run.train_on}"
    if run.train_on and not entry.embeds and {run.train_on} != {*(run.data or data)}:
        return (
            f"{entry.name} learns from references alone and cannot be trained on {run.train_on} "
            "for another data set"
        )
    return ""


def _unknown(entry: registry.DetectorEntry, options: Mapping[str, Any]) -> str:
    """The first of a row's options that a detector has not; "" where it has all."""
    own = options.keys() - entry.parts.keys()
    known = registry.resolve(entry.options).model_fields if own else {}
    return next(iter(sorted(own - known.keys())), "")


def shots(
    entry: registry.DetectorEntry,
    asked: Sequence[int | None] | None,
    options: Mapping[str, Any],
) -> tuple[Sequence[int | None], str]:
    """The numbers of shots that a detector can run with, and what to say of the others.

    Raises:
        OptionError: it can run with none of those that are asked for.
    """
    least, takes = _references(entry, options)
    if not takes:
        why = {
            "folder": "judges the test pictures against each other",
            "language model": "shows no references unless an option asks for it (references=2)",
        }.get(entry.needs, "takes no references")
        some = any(number != 0 for number in asked or ())
        return (0,), f"{entry.name} {why}: it runs once, without shots." if some else ""
    wanted = tuple(dict.fromkeys((least,) if asked is None else asked))
    numbers = tuple(number for number in wanted if number is None or number >= least)
    left_out = 0 in wanted and 0 not in numbers
    if not numbers or len(numbers) + left_out < len(wanted):
        words = ", ".join("all" if number is None else str(number) for number in wanted)
        first = max(least, 1)
        raise OptionError(
            f"{entry.name} needs references, and {words or 'no'} shots were asked for. Give "
            f"{least} or more, such as --shots {first},{2 * first},{4 * first}."
        )
    return numbers, f"{entry.name} needs references: 0 shots are left out." * left_out


def _references(entry: registry.DetectorEntry, options: Mapping[str, Any]) -> tuple[int, bool]:
    """How many references a detector needs at least, and whether it takes any."""
    if entry.needs == "references":
        return 1, True
    if entry.needs != "language model":
        return 0, entry.few_shot
    fields = registry.resolve(entry.options).model_fields
    usual = fields["references"].default if "references" in fields else 0
    shown = options.get("references", usual)
    source = registry.detectors().get(str(options.get("map_source")))
    for_source = _references(source, {})[0] if source else 0
    # One that shows some by itself goes without where none are drawn.
    needed = shown if isinstance(shown, int) and not usual else 0
    return max(needed, for_source), bool(shown or for_source)
