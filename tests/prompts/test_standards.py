"""The bank of standards is complete, true to its data sets and in the document's words."""

from __future__ import annotations

import json
import time
from importlib.resources import files

import pytest

from blemish.errors import OptionError
from blemish.prompts.standards import checked, rules, standards_of

NOUNS = json.loads(files("blemish").joinpath("classes.json").read_text("utf-8"))
ROWS = json.loads(files("blemish.prompts").joinpath("standards.json").read_text("utf-8"))[
    "standards"
]
MEDICAL = (
    "brain-mri", "chest-x-ray", "endotect", "head-ct", "hyper-kvasir",
    "isic-2016", "isic-2017", "mood", "oct2017",
)  # fmt: skip
DESCRIBED = ("mvtec-ad", "visa", "mvtec-3d-ad", "magnetic-tiles", "solar-cells")
ALL = (*DESCRIBED, *MEDICAL, "mvtec-loco")

# One word of every kind of defect that the data set itself names (its folders, its table).
KINDS = {
    "bottle": "broken contamination",
    "cable": "bent same cut pierced wire bundle",
    "capsule": "crack imprint poke scratch squeez",
    "carpet": "discolour cut hole metal thread",
    "metal grid": "bent broken glue metal thread",
    "hazelnut": "crack cut hole print",
    "leather": "discolour cut fold glue poke",
    "metal nut": "bent discolour upside scratch",
    "pill": "discolour contamination crack imprint type scratch",
    "screw": "tip head neck side top",
    "stone tile": "crack glue grey oil rough",
    "toothbrush": "bristle",
    "transistor": "bent cut case misplaced",
    "wood": "discolour hole drops scratch",
    "zipper": "broken fabric border rough split squeezed",
    "capsules": "bubble discolour leak shape scratch",
    "cashew nut": "burnt edge middle hole scratch spot stick",
    "piece of chewing gum": "chunk corner crack scratch spot",
    "fryum": "burnt edge middle scratch spot stick",
    "macaroni": "middle edge crack scratch spot",
    "printed circuit board": "bent missing",
    "pipe fryum": "burnt edge middle scratch spot stick",
    "rope": "open cut foreign",
    "cable gland": "bent cut hole thread",
    "cookie": "crack hole foreign",
    "magnetic tile": "blowhole crack break fray uneven",
    "polycrystalline solar cell": "crack inactive finger solder",
    "head CT image": "hemorrhage",
    "retinal OCT image": "drusen edema neovascularization",
    "colonoscopy image": "polyp hemorrhoid colitis",
}
PRINTED = {
    "bottle": "Normally, the image given should depict clear and identifiable bottles. It may have "
    "defects such as broken parts, contaminations.",
    "candle": "Normally, the image given should display four round, flat candles with centered "
    "wicks. It may have defects such as uneven wax surfaces, discolored patches, or misaligned "
    "wicks.",
    "PCB": "Normally, the image given should show a clean and well-structured printed circuit "
    "board (PCB) with clear traces, soldered components, and distinct labels. It may have defects "
    "such as bent pins, cold solder joints, missing components, or smudged labels.",
    "bagel": "Normally, the image given should depict a rounded shape with a central hole, "
    "consistent with the typical form of a bagel. It may have defects such as irregularities in "
    "the surface texture, inconsistencies in the hole's shape, or uneven thickness throughout the "
    "structure.",
    "peach": "Normally, the image given should depict a rounded, smooth surface characteristic of "
    "a peach. It may have defects such as dents, uneven texture, or abnormalities in its contour.",
    "breakfast box": "1. It should contain two oranges, one peach, and some cereal, nuts, and "
    "banana slices; 2. The fruit should be on the left side of the lunch box, the cereal on the "
    "upper right, and the nuts and banana slices on the lower right of the lunch box.",
    "juice bottle": "1. The juice type should match the label design. 2. To prevent bottle "
    "explosions, ensure the juice is filled to about 3cm below the bottle's opening.",
    "splicing connector": "1. Both the left and right connectors must be of the same type. 2. A "
    "continuous cable should connect the two connectors.",
    "screw bag": "1. Includes two screws, two nuts, and two washers. 2. The screws should be of "
    "varying lengths: one long and one short.",
    "chest X-ray": "The image given should be classified as normal or pneumonia.",
    "retina OCT": "The image given should be classified as normal, drusen, diabetic macular edema "
    "or choroidal neovascularization.",
    "head CT": "The image given should be classified as normal or hemorrhage.",
    "brain MRI": "The image given should be classified as normal or with tumor.",
}


@pytest.mark.parametrize("dataset", ALL)
def test_every_class_has_standards_by_its_noun(dataset: str) -> None:
    for row in NOUNS[dataset].values():
        text = standards_of(row["name"])
        assert checked(text) == text, row["name"]
        numbered, medical = len(rules(text)) > 1, "should be classified as normal" in text
        if dataset == "mvtec-loco":
            assert numbered
        else:
            assert not numbered
            described = text.startswith("Normally, ") and "It may have defects such as " in text
            assert described != medical
            assert medical == (dataset in MEDICAL)


@pytest.mark.parametrize("dataset", ["mvtec-ad", "visa", "mvtec-loco", "mvtec-3d-ad"])
def test_the_name_of_a_folder_finds_the_same_standards(dataset: str) -> None:
    for folder, row in NOUNS[dataset].items():
        assert standards_of(folder) == standards_of(row["name"])
    assert standards_of(" Metal_Nut\n") == standards_of("metal nut") != ""


@pytest.mark.parametrize(("name", "kinds"), KINDS.items())
def test_the_kinds_of_defects_of_the_data_set_are_named(name: str, kinds: str) -> None:
    text = standards_of(name).partition("defects such as")[2] or standards_of(name)
    assert [kind for kind in kinds.split() if kind not in text] == []


@pytest.mark.parametrize(("name", "text"), PRINTED.items())
def test_what_the_document_prints_is_kept_and_cited(name: str, text: str) -> None:
    assert standards_of(name) == text
    (source,) = [row["source"] for row in ROWS if row["text"] == text]
    assert source.startswith("arXiv 2311.02782, figures ")


def test_everything_else_says_that_it_is_ours() -> None:
    ours = [row for row in ROWS if row["text"] not in PRINTED.values()]
    assert {row["source"] for row in ours} == {"written for this project"}
    names = [name.casefold() for row in ROWS for name in row["names"]]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", ["", "object", "left hinge", "metal", "normal"])
def test_an_unknown_class_has_none(name: str) -> None:
    assert standards_of(name) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1. Two nuts. 2. One bolt.", ("Two nuts.", "One bolt.")),
        ("1) Two nuts\n2) One bolt", ("Two nuts", "One bolt")),
        ("A bag:\n- two nuts\n- one bolt\n", ("two nuts", "one bolt")),
        ("- two nuts\n  of steel\n- one bolt", ("two nuts of steel", "one bolt")),
        ("1.\nTwo nuts\n2.\nOne bolt", ("Two nuts", "One bolt")),
        ("1. A gap of 1.5 cm; 2. no dirt", ("A gap of 1.5 cm", "no dirt")),
        ("1. Filled to 3. 4 is too many. 2. Closed.", ("Filled to 3. 4 is too many.", "Closed.")),
        ("2. Two nuts. 3. One bolt.", ()),
        ("It holds 2. And no more.", ()),
        ("", ()),
    ],
)
def test_rules(text: str, found: tuple[str, ...]) -> None:
    assert rules(text) == found


@pytest.mark.parametrize("text", ["1) Two nuts\n2) One bolt", "- Two nuts\n- One bolt"])
def test_rules_are_still_rules_on_one_line(text: str) -> None:
    assert checked(text) == "1. Two nuts. 2. One bolt."
    assert checked(checked(text)) == checked(text)


@pytest.mark.parametrize("text", ["", " \n\t", "1.", "1. 2.", "- \n-", "..."])
def test_empty_standards_are_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(OptionError, match=r"empty\. Write what a normal part looks like"):
        checked(text)


def test_the_example_of_the_error_is_accepted() -> None:
    example = "1. It has two screws. 2. One screw is long, one is short."
    assert checked(example) == example
    with pytest.raises(OptionError) as caught:
        checked("")
    assert example in str(caught.value)


def test_standards_become_one_line_and_a_repeated_rule_goes() -> None:
    assert checked("  A whole nut,\n without cracks ") == "A whole nut, without cracks."
    assert checked("1. A nut; 2. A bolt; 3. a  nut.") == "1. A nut. 2. A bolt."
    assert checked("In it:\n- a nut\n- a nut\n- a bolt") == "In it: 1. a nut. 2. a bolt."


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("It should contain two screws.", "There must be three screws."),
        ("2 nuts and a bolt", "one bolt and 3 nuts"),
        ("Includes exactly one long bolt", "Includes two long bolts"),
        ("Four screws must be present.", "Five screws should be there."),
    ],
)
def test_rules_that_contradict_each_other_are_refused(one: str, other: str) -> None:
    with pytest.raises(OptionError, match="contradict each other") as caught:
        checked(f"1. {one} 2. {other}" if one.endswith(".") else f"1. {one}; 2. {other}")
    assert one in str(caught.value)
    assert other in str(caught.value)
    with pytest.raises(OptionError, match="contradict"):
        checked(f"{one.rstrip('.')}. {other}")


@pytest.mark.parametrize(
    "text",
    [
        "1. It has two screws. 2. One screw is long and the other is short.",
        "1. Two screws on the left side. 2. Three screws on the right side.",
        "1. Each compartment holds two nuts. 2. The bag holds eight nuts.",
        "1. At least two nuts. 2. At most four nuts.",
        "1. Two long screws and one short screw. 2. Three nuts.",
        "1. A hole of 3 mm. 2. A slot of 5 mm.",
        "1. One of the pins is gold. 2. Three of the pins are silver.",
        "1. Two screws. 2. No screws are bent.",
    ],
)
def test_counts_of_different_things_do_not_contradict(text: str) -> None:
    assert checked(text) == text


def test_a_hostile_text_takes_no_time() -> None:
    start = time.process_time()
    for text in ("1. " * 20_000, "two " + "a" * 50_000, "two a " * 10_000, " \n" * 50_000 + "x"):
        checked(text + "x")
    assert time.process_time() - start < 2
