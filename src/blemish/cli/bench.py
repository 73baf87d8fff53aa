"""`blemish bench`: a paper's table, or any detector on any data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli import inspecting as shared
from blemish.cli import measuring
from blemish.cli.inspecting import parsed
from blemish.errors import OptionError

if TYPE_CHECKING:
    from blemish.types import ChatModel

HELP = (
    "Measure detectors: a paper's table with our figures beside, or a free combination.\n\n"
    "blemish bench 004/table7 --data DATASETS\n\n"
    "blemish bench --detector patch-memory --dataset DIR --shots 1,2,4 --seeds 5\n\n"
    "blemish bench 000/regions --data DATASETS --llm openai:gpt-5 --limit 5\n\n"
    "A benchmark that was stopped goes on when the command is repeated."
)
EXIT_CODES = (
    "Exit codes: 0 done; 2 nothing could be run; 3 some methods could not be run, or some pictures "
    "not be judged; 130 stopped."
)


def bench(
    protocol: Annotated[
        str,
        typer.Argument(
            metavar="[PROTOCOL]", help="A table, such as 004/table7.", show_default=False
        ),
    ] = "",
    data: Annotated[
        Path | None, typer.Option(help="Folder with the protocol's data sets, or one of them.")
    ] = None,
    detector: Annotated[
        str,
        typer.Option(help="Free combination: a name (see: blemish detectors), or anomalib:MODEL."),
    ] = "",
    dataset: Annotated[
        Path | None, typer.Option(help="Free combination, or maps: the data set.")
    ] = None,
    shots: Annotated[
        str, typer.Option(help="Numbers of references, such as 1,2,4 or all.", show_default=False)
    ] = "",
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many draws of references.", show_default=False)
    ] = None,
    encoder: Annotated[str, typer.Option(help="Free combination: image encoder.")] = "",
    size: Annotated[
        int | None, typer.Option(help="Free combination: side in pixels that is looked at.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Another option of the detector; repeatable."),
    ] = None,
    categories: Annotated[str, typer.Option(help="Only these, such as bottle,cable.")] = "",
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="At most so many test pictures of each category and label.",
            show_default=False,
        ),
    ] = None,
    adapter: Annotated[
        list[Path] | None,
        typer.Option(help="For the rows of a protocol that it fits; repeatable.", metavar="FOLDER"),
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Score maps that another program wrote.")
    ] = None,
    anomalib_python: Annotated[
        Path | None, typer.Option(help="The Python of an environment that has anomalib.")
    ] = None,
    method: Annotated[str, typer.Option(help="What that program is called.")] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="blemish_bench/...")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, or a torch device.")] = "auto",
    dtype: Annotated[str, typer.Option(help="Of the encoder, such as int8.")] = "auto",
    llm: shared.Llm = "",
    llm_option: shared.LlmPairs = None,
    no_cache: shared.NoCache = False,
    cache_only: shared.CacheOnly = False,
    list_: Annotated[
        bool, typer.Option("--list", metavar="", help="List the protocols and what can run here.")
    ] = False,
) -> None:
    """See `HELP`."""
    free: dict[str, Any] = {"--detector": detector, "--maps": maps, "--method": method}
    free |= {"--shots": shots, "--encoder": encoder, "--size": size, "--option": option}
    asking: dict[str, Any] = {"--llm": llm, "--llm-option": llm_option}
    asking |= {"--no-cache": no_cache, "--cache-only": cache_only}
    _check(protocol, list_, data, dataset, free)
    if adapter and not protocol:
        raise OptionError(
            "--adapter goes with a protocol, whose rows take those that fit them. Beside "
            "--detector say --option adapter=FOLDER."
        )
    _check_asking([name for name, value in asking.items() if value], list_, maps, detector)
    if list_:
        raise typer.Exit(measuring.listed())
    from blemish.benchmark import adapters, find
    from blemish.benchmark import plan as plans
    from blemish.benchmark.folder import Means
    from blemish.benchmark.protocol import load
    from blemish.datasets.find import open_dataset

    draws = tuple(range(seeds)) if seeds else None
    table = load(protocol) if protocol else None
    model = _model(llm, llm_option, device, dtype, no_cache, cache_only)
    means = Means(device, dtype, language_model=model)
    if table and data:
        sets = find.datasets(data, table.data)
        plan = plans.of_protocol(
            adapters.into(table, [adapters.read(folder) for folder in adapter or ()]),
            sets,
            seeds=draws,
            categories=_words(categories),
            language_model=bool(model),
        )
        plan = plan.limited(limit) if limit else plan
        name = protocol.replace("/", "-")
        name += "" if table.data else f"-{measuring.code([str(s.root) for s in sets.values()])}"
        name += f"-{measuring.code(model.fingerprint)}" if model and plan.asks else ""
        raise typer.Exit(measuring.run(plan, table, out or measuring.RESULTS / name, means))
    assert dataset is not None
    opened = open_dataset(dataset)
    if maps or detector.startswith(measuring.ANOMALIB):
        opened = opened.limited(limit) if limit else opened
    if maps:
        chosen = (_shots(shots), _words(categories))
        raise typer.Exit(measuring.maps(opened, maps, method, *chosen, table, out))
    options = {**parsed(option or []), **({"encoder": encoder} if encoder else {})}
    if size is not None:
        options["size"] = size
    if detector.startswith(measuring.ANOMALIB):
        cells = (_shots(shots) or (None,), draws or (0,), options, _words(categories))
        raise typer.Exit(measuring.anomalib(opened, detector, cells, anomalib_python, out))
    plan = plans.free(
        detector, opened, _shots(shots), draws or (0,), options, categories=_words(categories)
    )
    plan = plan.limited(limit) if limit else plan
    about = [str(opened.root.resolve()), options, device, dtype, limit]
    about += [model.fingerprint] if model and plan.asks else []
    name = f"{plan.cells[0].detector}-{opened.name}-{measuring.code(about)}"
    raise typer.Exit(measuring.run(plan, None, out or measuring.RESULTS / name, means))


def _check(
    protocol: str,
    list_: bool,
    data: Path | None,
    dataset: Path | None,
    free: Mapping[str, Any],
) -> None:
    """Refuse, before anything is loaded, what does not go together."""
    given = [name for name, value in free.items() if value not in (None, "", [])]
    if list_ and (protocol or data or dataset or given):
        raise OptionError("--list takes nothing else. Leave the rest out.")
    if list_:
        return
    if "--maps" in given:
        if dataset is None or data or {*given} - {"--maps", "--method", "--shots"}:
            raise OptionError(
                "--maps goes with --dataset DIR and, if you like, --method NAME, --shots and a "
                "protocol whose published figures stand beside. Leave the rest out."
            )
    elif protocol:
        if dataset or given:
            both = ", ".join([*(["--dataset"] if dataset else []), *given])
            raise OptionError(
                f"{both} came with the protocol {protocol}, which says itself what is run. Leave "
                "one of both out."
            )
        if data is None:
            raise OptionError(f"{protocol} needs --data: the folder that holds its data sets.")
    elif dataset is None or "--detector" not in given:
        raise OptionError(
            "Give a protocol with --data DIR (blemish bench --list shows them), or --detector NAME "
            "with --dataset DIR, or --maps DIR with --dataset DIR."
        )


def _check_asking(given: Sequence[str], list_: bool, maps: Path | None, detector: str) -> None:
    """Refuse what is said of a language model where none is asked, or none is named."""
    if not given:
        return
    if list_ or maps or detector.startswith(measuring.ANOMALIB):
        here = "--list" if list_ else "--maps" if maps else detector
        raise OptionError(f"{here} asks no language model. Leave {', '.join(given)} out.")
    if "--llm" not in given:
        raise OptionError(
            f"{', '.join(given)} came, but no language model. Name one, such as --llm "
            "openai:gpt-5, or leave it out."
        )


def _model(
    llm: str,
    pairs: Sequence[str] | None,
    device: str,
    dtype: str,
    no_cache: bool,
    cache_only: bool,
) -> ChatModel | None:
    from blemish.cli import asking

    if not llm:
        return None
    settings = parsed(pairs or [])
    place = {"device": device, "dtype": dtype}
    return asking.language_model(llm, settings, **place, no_cache=no_cache, cache_only=cache_only)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _shots(text: str) -> tuple[int | None, ...] | None:
    """Such as "1,2,all" as numbers, None for all; None where nothing was given."""
    try:
        return tuple(None if word == "all" else int(word) for word in _words(text)) or None
    except ValueError:
        raise OptionError(
            f"--shots {text} came; expected whole numbers or all, with commas between, such as "
            "1,2,4."
        ) from None
