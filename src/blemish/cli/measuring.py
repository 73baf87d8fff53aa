"""What `blemish bench` does once it knows what: runs, scores, shows; the exit code of each."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from blemish.errors import OptionError, WeightsError

if TYPE_CHECKING:
    from blemish.benchmark.folder import Means, Record
    from blemish.benchmark.plan import Plan
    from blemish.benchmark.protocol import Protocol
    from blemish.datasets.model import Dataset

RESULTS = Path("blemish_bench")
ANOMALIB = "anomalib:"
"""Before the name of one of its models."""


def run(plan: Plan, table: Protocol | None, out: Path, means: Means) -> int:
    """Run a plan, write and show its table; the exit code."""
    from blemish.benchmark import run as runner
    from blemish.cli import screen

    plan, means = _with_weights(plan, means)
    said = screen.console(stderr=True)
    for note in plan.notes:
        said.print(note, markup=False, soft_wrap=True)
    if means.language_model and not plan.asks:
        said.print("No method that can run here asks a language model: --llm is not used.")
    for why in dict.fromkeys(why for _, why in plan.unavailable):
        alike = "; ".join(method for method, own in plan.unavailable if own == why)
        said.print(f"{alike}: cannot be run, {why.rstrip('.')}.", markup=False, soft_wrap=True)
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

            records = runner.run(plan, out, means, command=_command(), on_progress=count)
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


def maps(
    dataset: Dataset,
    source: Path,
    method: str,
    shots: Sequence[int | None] | None,
    categories: Sequence[str],
    table: Protocol | None,
    out: Path | None,
) -> int:
    """Score another program's maps, write and show the table; the exit code."""
    from blemish.benchmark import maps as scorer
    from blemish.cli import screen

    name = method or source.resolve().name
    number = shots[0] if shots else 0
    cells = scorer.cells_of(dataset, name, shots=number, categories=categories)
    target = out or RESULTS / f"{name}-{dataset.name}-{code([str(source.resolve()), number])}"
    with screen.progress("Measuring") as update:
        records = scorer.score(
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


def anomalib(
    dataset: Dataset,
    detector: str,
    wanted: tuple[Sequence[int | None], Sequence[int], Mapping[str, Any], Sequence[str]],
    python: Path | None,
    out: Path | None,
) -> int:
    """Run a model of anomalib in its own environment, score its maps; the exit code."""
    from blemish.benchmark import anomalib as bridge
    from blemish.cli import screen

    if python is None:
        raise OptionError(
            f"{detector} runs in an environment of its own: name its Python with "
            "--anomalib-python, such as anomalib-env/bin/python after `python -m venv "
            "anomalib-env` and `anomalib-env/bin/pip install anomalib`."
        )
    shots, seeds, options, categories = wanted
    model = detector.removeprefix(ANOMALIB)
    cells = bridge.cells_of(
        dataset, model, shots=shots, seeds=seeds, options=options, categories=categories
    )
    short = code([str(dataset.root.resolve()), options])
    target = out or RESULTS / f"anomalib-{model}-{dataset.name}-{short}"
    with screen.waiting(f"Running anomalib's {model}"):
        records = bridge.run(dataset, cells, target, python=python, command=_command())
    _show(records, None, target)
    return 3 if _failed(records) else 0


def listed() -> int:
    """List the protocols with what can run here; the exit code."""
    from blemish.benchmark.possible import lacking, needs_model
    from blemish.benchmark.protocol import load, names

    for name in names():
        protocol = load(name)
        ours = [run for run in protocol.runs if run.detector]
        can = [run for run in ours if not lacking(run, protocol.data, language_model=True)]
        state = "not yet" if not can else "runs" if len(can) == len(ours) else "in part"
        if any(needs_model(str(run.detector), run.options) for run in can):
            state += " with --llm"
        count = f"{len(can)} of {len(ours)} methods"
        typer.echo(f"{name}: {state} ({count}), on {', '.join(protocol.data) or 'any set'}")
        typer.echo(f"  {protocol.title}")
    return 0


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


def _with_weights(plan: Plan, means: Means) -> tuple[Plan, Means]:
    """The plan with its weights at hand; without the methods that they are missing for."""
    from blemish import build, weights
    from blemish.cli import screen
    from blemish.cli.weights import fetched

    known = {row.name for row in weights.table()} | {row.name for row in weights.checkpoints()}
    wanted = dict.fromkeys(name for cell in plan.cells for name in plan.models(cell))
    for name in (name for name in wanted if name in known):
        try:
            fetched(name)
        except WeightsError as why:
            plan = plan.without(name, f"its weights are not at hand: {why}")
    segmenters = {}
    named = [cell.options["segmenter"] for cell in plan.cells if cell.options.get("segmenter")]
    for name in dict.fromkeys(named):
        try:
            with screen.waiting(f"Loading {name}"):
                segmenters[name] = build.segmenter(name, device=means.device)
        except WeightsError as why:
            plan = plan.without(name, f"its weights are not at hand: {why}")
    return plan, replace(means, segmenters=segmenters)


def _command() -> str:
    return shlex.join(["blemish", *sys.argv[1:]])


def code(about: Any) -> str:
    """Six characters that tell results of different settings apart."""
    return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:6]
