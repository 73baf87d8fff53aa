"""The tables of documents 003 (AnomalyGPT) and 004 (ALFA), checked against what their texts say.

Neither document prints figures by category, so that no mean can be worked out again. Instead, the
figures are held against each other: the same figure often stands in two tables, in both documents,
or in a sentence of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from blemish.benchmark.protocol import Published, load, names

# Sums of a table's figures, and of what it prints after ±, taken from the documents' texts.
SUMS = {
    "003/table2": (5848.9, 93.2),
    "003/table3": (830.7, 0),
    "003/table4": (3023.0, 0),
    "004/table1": (3436.4, 0),
    "004/table2": (2034.9, 0),
    "004/table3": (1411.9, 0),
    "004/table4": (4834.7, 91.8),
    "004/table5": (4184.2, 73.5),
    "004/table6": (2251.62, 0.23),
    "004/table7": (1953.6, 0),
}
TABLES = [name for name in names() if name[:3] in ("003", "004")]
Figure = Callable[..., float]
Printed = Callable[..., Published]


@pytest.mark.parametrize("name", SUMS)
def test_the_figures_add_up_to_those_of_the_text(name: str) -> None:
    published = load(name).published
    values = sum(p.value for p in published), sum(p.spread or 0 for p in published)
    assert values == pytest.approx(SUMS[name], abs=0.005)


@pytest.mark.parametrize("name", TABLES)
def test_figures_have_the_printed_digits(name: str) -> None:
    table = load(name)
    for p in table.published:
        unit = table.units.get(p.metric, "%")
        digits = 2 if unit == "s" or name == "003/figure7" else 1
        assert p.value == round(p.value, digits)
        assert (0.5 if unit == "s" else 3) < p.value < (2 if unit == "s" else 100)
        assert p.spread is None or 0 < p.spread <= 5.4
        assert unit == "%" or p.metric == "latency"


TO_VISA, TO_MVTEC = "AnomalyGPT (ours), MVTec AD to VisA", "AnomalyGPT (ours), VisA to MVTec AD"


@pytest.mark.parametrize(
    ("table", "method", "data", "shots", "accuracy", "image", "pixel"),
    [
        ("003/table3", "AnomalyGPT (ours)", "mvtec-ad", 0, 93.3, 97.4, 93.1),
        ("003/table2", TO_VISA, "visa", 1, 77.4, 87.4, 96.2),
        ("003/table2", TO_MVTEC, "mvtec-ad", 1, 86.1, 94.1, 95.3),
        ("003/mvtec-to-visa", TO_VISA, "visa", 1, 77.4, 87.4, 96.2),
        ("003/visa-to-mvtec", TO_MVTEC, "mvtec-ad", 1, 86.1, 94.1, 95.3),
    ],
)
def test_introduction_of_003_agrees(
    figure: Figure,
    table: str,
    method: str,
    data: str,
    shots: int,
    accuracy: float,
    image: float,
    pixel: float,
) -> None:
    assert figure(table, method, "accuracy", data=data, shots=shots) == accuracy
    assert figure(table, method, "image_auroc", data=data, shots=shots) == image
    assert figure(table, method, "pixel_auroc", data=data, shots=shots) == pixel


@pytest.mark.parametrize(
    ("metric", "data", "second", "gain"),
    [
        ("au_pro", "mvtec-ad", "AnoVL⁻", 12.1),
        ("au_pro", "visa", "AnoVL⁻", 8.9),
        ("image_auroc", "mvtec-ad", "WinCLIP", 1.5),
        ("image_auroc", "visa", "WinCLIP", 4.0),
    ],
)
def test_gains_named_in_004_follow_from_table_1(
    figure: Figure, metric: str, data: str, second: str, gain: float
) -> None:
    ours, theirs = (figure("004/table1", m, metric, data=data) for m in ("ALFA", second))
    assert 100 * (ours / theirs - 1) == pytest.approx(gain, abs=0.05)


@pytest.mark.parametrize("method", ["PatchCore", "WinCLIP"])
@pytest.mark.parametrize("data", ["mvtec-ad", "visa"])
@pytest.mark.parametrize("shots", [1, 2, 4])
def test_both_documents_quote_the_same_few_shot_figures(
    one: Printed, method: str, data: str, shots: int
) -> None:
    for metric, table in (("image_auroc", "004/table4"), ("pixel_auroc", "004/table5")):
        there, here = (
            one(t, method, metric, data=data, shots=shots) for t in ("003/table2", table)
        )
        assert (here.value, here.spread) == (there.value, there.spread)


@pytest.mark.parametrize(
    ("in_003", "in_004", "shots"),
    [
        ("PaDiM (Unified)", "PaDiM", None),
        ("JNLD (Unified)", "JNLD", None),
        ("UniAD", "UniAD", None),
        ("AnomalyGPT (ours)", "AnomalyGPT", 0),
    ],
)
def test_both_documents_quote_the_same_unified_figures(
    figure: Figure, in_003: str, in_004: str, shots: int | None
) -> None:
    for metric in ("image_auroc", "pixel_auroc"):
        there = figure("003/table3", in_003, metric, shots=shots)
        assert figure("004/table7", in_004, metric, shots=shots) == there


def test_alfa_repeats_its_figures_from_table_to_table(figure: Figure) -> None:
    full = "Template + LLM + S_c + aligner"
    for metric in load("004/table1").metrics:
        assert figure("004/table1", "ALFA", metric) == figure("004/table2", full, metric)
    last = load("004/table3").runs[-1].method
    for metric in load("004/table3").metrics:
        assert figure("004/table1", "ALFA", metric) == figure("004/table3", last, metric)
        for other, method in zip(load("004/table3").runs, ("WinCLIP", "AnoVL⁻"), strict=False):
            assert figure("004/table3", other.method, metric) == figure(
                "004/table1", method, metric
            )
    for shots, images, pixels in (
        (0, "004/table1", "004/table1"),
        (1, "004/table4", "004/table5"),
        (2, "004/table4", "004/table5"),
        (4, "004/table4", "004/table5"),
    ):
        image = figure(images, "ALFA", "image_auroc", shots=shots)
        pixel = figure(pixels, "ALFA", "pixel_auroc", shots=shots)
        assert figure("004/table6", "S_G + max S_L", "image_auroc", shots=shots) == image
        assert figure("004/table6", "Masks [2, 3]", "pixel_auroc", shots=shots) == pixel
        if shots in (0, 4):
            assert figure("004/table7", "ALFA", "image_auroc", shots=shots) == image
            assert figure("004/table7", "ALFA", "pixel_auroc", shots=shots) == pixel


@pytest.mark.parametrize("name", ["003/mvtec-to-visa", "003/visa-to-mvtec"])
def test_the_transfers_are_rows_of_table_2(name: str) -> None:
    transfer, whole = load(name), load("003/table2")
    (run,) = transfer.runs
    assert run.model_copy(update={"data": transfer.data}) in whole.runs
    assert run.train_on not in (None, *transfer.data)
    rows = [line for line in whole.published if line.method == run.method]
    assert list(transfer.published) == rows


def test_options_of_the_ablation_of_003_follow_its_ticks() -> None:
    for run in load("003/table4").runs:
        parts, _, setting = run.method.rpartition(", ")
        model = "no LLM" not in parts
        parts = parts.removesuffix(", no LLM").lower()
        assert run.options.get("decoder", True) == ("decoder" in parts)
        assert run.options.get("lora", False) == ("lora" in parts)
        assert run.options["language_model"] == ("vicuna-7b" if model else None)
        if model:
            assert run.options.get("prompt_learner", True) == ("prompt learner" in parts)
        assert run.threshold == ("own" if model else "max-of-normals")
        assert run.shots == ((1,) if setting == "VisA 1-shot" else (0,))


def test_the_last_row_of_the_ablation_of_003_is_the_whole_system(figure: Figure) -> None:
    row = "Decoder + prompt learner + LLM, "
    for metric in ("image_auroc", "pixel_auroc", "accuracy"):
        whole = figure("003/table3", "AnomalyGPT (ours)", metric)
        assert figure("003/table4", row + "MVTec AD unsupervised", metric) == whole
        whole = figure("003/table2", TO_VISA, metric, data="visa", shots=1)
        assert figure("003/table4", row + "VisA 1-shot", metric, data="visa", shots=1) == whole


def test_the_rule_without_a_language_model_is_row_7_of_the_ablation(figure: Figure) -> None:
    rule, rows = load("003/max-of-normals"), load("003/table4")
    assert all(run in rows.runs for run in rule.runs)
    assert all(line in rows.published for line in rule.published)
    # A model without the prompt learner sees no map: row 4 has the accuracy of the model alone.
    for setting, data, shots in (
        ("MVTec AD unsupervised", "mvtec-ad", 0),
        ("VisA 1-shot", "visa", 1),
    ):
        alone, blind, ruled = (
            figure("003/table4", f"{row}, {setting}", "accuracy", data=data, shots=shots)
            for row in ("LLM", "Decoder + LLM", "Decoder, no LLM")
        )
        assert alone == blind < ruled
    for table in (rule, rows):
        assert any("Rows 4 and 7" in line for line in table.unclear)


def test_options_of_the_ablation_of_004_follow_its_ticks() -> None:
    switches = {
        "Template": "template_prompts",
        "LLM": "llm_prompts",
        "S_c": "contextual_scoring",
        "aligner": "aligner",
    }
    for run in load("004/table2").runs:
        ticks = run.method.split(" + ")
        on = {name: run.options.get(switch, True) for name, switch in switches.items()}
        assert on == {name: name in ticks for name in switches}


def test_prompts_saved_by_alfa_are_those_of_the_text() -> None:
    winclip, _, *alfa = (run.method for run in load("004/table3").runs)
    theirs = int(re.findall(r"(\d+) prompts", winclip)[0])
    for method in alfa:
        ours = int(re.findall(r"only (\d+) manual", method)[0])
        assert round(100 * (1 - ours / theirs), 1) == 53.2


def test_the_unified_threshold_of_patchcore_is_quoted_from_the_text(figure: Figure) -> None:
    method = "PatchCore, one threshold for all categories"
    assert figure("003/figure7", method, "image_auroc", shots=None) == 99.3
    assert figure("003/figure7", method, "accuracy", shots=None) == 79.76
    for name in ("003/figure7", "003/figure8"):
        assert [run.threshold for run in load(name).runs] == ["unified", "best"]
        assert load(name).curve


def test_pro_is_taken_to_the_stated_limit() -> None:
    for name in ("004/table1", "004/table2", "004/table5"):
        assert load(name).au_pro_limit == 0.3
        assert any("limit of PRO" in line for line in load(name).unclear)
