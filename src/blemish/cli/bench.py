"""`blemish bench`: a paper's table, or any detector on any data set."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blemish.cli.inspect import parsed
from blemish.errors import OptionError, WeightsError

if TYPE_CHECKING:
    from blemish.benchmark.folder import Record
    from blemish.benchmark.plan import Plan
    from blemish.benchmark.protocol import Protocol
    from blemish.datasets.model import Dataset

HELP = (
    "Measure detectors: a paper's table with our figures beside, or a free combination.\n\n"
    "blemish bench 004/table7 --data DATASETS\n\n"
    "blemish bench --detector patch-memory --dataset DIR --shots 1,2,4 --seeds 5\n\n"
    "A benchmark that was stopped goes on when the command is repeated."
)
EXIT_CODES = (
    "Exit codes: 0 done; 2 nothing could be run; 3 some methods could not be run, or some pictures "
    "not be judged; 130 stopped."
)

_RESULTS = Path("blemish_bench")
_ANOMALIB = "anomalib:"


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
    list_: Annotated[
        bool, typer.Option("--list", metavar="", help="List the protocols and what can run here.")
    ] = False,
) -> None:
    """See `HELP`."""
    free: dict[str, Any] = {"--detector": detector, "--maps": maps, "--method": method}
    free |= {"--shots": shots, "--encoder": encoder, "--size": size, "--option": option}
    _check(protocol, list_, data, dataset, free)
    if list_:
        raise typer.Exit(_list())
    from blemish.benchmark import find
    from blemish.benchmark import plan as plans
    from blemish.benchmark.protocol import load
    from blemish.datasets.find import open_dataset

    draws = tuple(range(seeds)) if seeds else None
    table = load(protocol) if protocol else None
    if table and data:
        plan = plans.of_protocol(
            table, find.datasets(data, table.data), seeds=draws, categories=_words(categories)
        )
        plan = plan.limited(limit) if limit else plan
        target = out or _RESULTS / protocol.replace("/", "-")
        raise typer.Exit(_run(plan, table, target, device, dtype))
    assert dataset is not None
    opened = open_dataset(dataset)
    if maps or detector.startswith(_ANOMALIB):
        opened = opened.limited(limit) if limit else opened
    if maps:
        raise typer.Exit(_maps(opened, maps, method, _shots(shots), _words(categories), table, out))
    options = {**parsed(option or []), **({"encoder": encoder} if encoder else {})}
    if size is not None:
        options["size"] = size
    if detector.startswith(_ANOMALIB):
        cells = (_shots(shots) or (None,), draws or (0,), options, _words(categories))
        raise typer.Exit(_anomalib(opened, detector, cells, anomalib_python, out))
    plan = plans.free(
        detector, opened, _shots(shots), draws or (0,), options, categories=_words(categories)
    )
    plan = plan.limited(limit) if limit else plan
    code = _code([str(opened.root.resolve()), options, device, dtype, limit])
    target = out or _RESULTS / f"{plan.cells[0].detector}-{opened.name}-{code}"
    raise typer.Exit(_run(plan, None, target, device, dtype))


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


def _run(plan: Plan, table: Protocol | None, out: Path, device: str, dtype: str) -> int:
    """Run a plan, write and show its table; the exit code."""
    from blemish.benchmark import run
    from blemish.benchmark.folder import Means
    from blemish.cli import screen

    plan = _with_weights(plan)
    said = screen.console(stderr=True)
    for note in plan.notes:
        said.print(note, markup=False, soft_wrap=True)
    for method, why in plan.unavailable:
        said.print(f"{method}: cannot be run, {why.rstrip('.')}.", markup=False, soft_wrap=True)
    if not plan.cells:
        said.print("Nothing can be run here.", style="bold red")
        return 2
    done, total = 0, sum(len(plan.items(cell)) for cell in plan.cells)
    try:
        with screen.progress("Measuring") as update:

            def count(now: int, every: int) -> None:
                nonlocal done
                done = now
                update(now, every)

            records = run.run(
                plan,
                out,
                Means(device, dtype),
                command=_command(),
                on_progress=count,
            )
    except KeyboardInterrupt:
        typer.echo(
            f"Stopped. {done} of {total} pictures are done and kept in {out}; the same command "
            "goes on from there.",
            err=True,
        )
        return 130
    _show(records, table, out)
    failed = _failed(records)
    return 3 if failed or plan.unavailable else 0


def _show(records: Sequence[Record], protocol: Protocol | None, out: Path) -> None:
    from blemish.benchmark import table
    from blemish.cli import screen

    collected = table.collect(records, protocol)
    left_out = table.write(collected, out)
    console = screen.console()
    table.show(collected, console)
    for line in left_out:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"Written to {out}", markup=False, soft_wrap=True)


def _failed(records: Sequence[Record]) -> int:
    """Tell pictures that could not be judged, each once; how many there are."""
    from blemish.cli import screen

    messages = {
        (record["cell"]["data"], note["id"]): note["message"]
        for record in records
        for note in record["failed"]
    }
    said = screen.console(stderr=True)
    for (data, name), message in messages.items():
        said.print(f"Not judged: {data}, {name}: {message}", markup=False, soft_wrap=True)
    return len(messages)


def _with_weights(plan: Plan) -> Plan:
    """The plan after its encoders' weights were fetched; without what they are missing for."""
    from blemish import weights
    from blemish.cli import screen

    known = {row.name for row in weights.table()}
    for name in dict.fromkeys(plan.encoder(cell) for cell in plan.cells):
        if name not in known:
            continue
        try:
            with screen.progress(f"Fetching {name}", "B") as update:
                weights.pull(name, update)
        except WeightsError as why:
            plan = plan.without_encoder(name, f"its weights are not at hand: {why}")
    return plan


def _list() -> int:
    from blemish.benchmark.plan import lacking
    from blemish.benchmark.protocol import load, names

    for name in names():
        protocol = load(name)
        ours = [run for run in protocol.runs if run.detector]
        can = sum(not lacking(run, protocol.data) for run in ours)
        state = "not yet" if not can else "runs" if can == len(ours) else "in part"
        typer.echo(f"{name}: {state} ({can} of {len(ours)} methods), on {', '.join(protocol.data)}")
        typer.echo(f"  {protocol.title}")
    return 0


def _maps(
    dataset: Dataset,
    source: Path,
    method: str,
    shots: Sequence[int | None] | None,
    categories: Sequence[str],
    table: Protocol | None,
    out: Path | None,
) -> int:
    """Score another program's maps, write and show the table; the exit code."""
    from blemish.benchmark import maps
    from blemish.cli import screen

    name = method or source.resolve().name
    number = shots[0] if shots else 0
    cells = maps.cells_of(dataset, name, shots=number, categories=categories)
    target = out or _RESULTS / f"{name}-{dataset.name}-{_code([str(source.resolve()), number])}"
    with screen.progress("Measuring") as update:
        records = maps.score(
            dataset,
            source,
            cells,
            target,
            au_pro_limit=table.au_pro_limit if table else 0.3,
            command=_command(),
            on_progress=update,
        )
    _show(records, table, target)
    return 3 if _failed(records) else 0


def _anomalib(
    dataset: Dataset,
    detector: str,
    wanted: tuple[Sequence[int | None], Sequence[int], Mapping[str, Any], Sequence[str]],
    python: Path | None,
    out: Path | None,
) -> int:
    """Run a model of anomalib in its own environment, score its maps; the exit code."""
    from blemish.benchmark import anomalib
    from blemish.cli import screen

    if python is None:
        raise OptionError(
            f"{detector} runs in an environment of its own: name its Python with "
            "--anomalib-python, such as anomalib-env/bin/python after `python -m venv "
            "anomalib-env` and `anomalib-env/bin/pip install anomalib`."
        )
    shots, seeds, options, categories = wanted
    model = detector.removeprefix(_ANOMALIB)
    cells = anomalib.cells_of(
        dataset, model, shots=shots, seeds=seeds, options=options, categories=categories
    )
    code = _code([str(dataset.root.resolve()), options])
    target = out or _RESULTS / f"anomalib-{model}-{dataset.name}-{code}"
    with screen.waiting(f"Running anomalib's {model}"):
        records = anomalib.run(dataset, cells, target, python=python, command=_command())
    _show(records, None, target)
    return 3 if _failed(records) else 0


def _command() -> str:
    return shlex.join(["blemish", *sys.argv[1:]])


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


def _code(about: Any) -> str:
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:6]
