"""The prompts of document arXiv 2311.02782, as its figures print them, are what is asked."""

from __future__ import annotations

import pytest

from blemish.prompts.vqa import PROMPTS, SETTINGS, TASKS, question, wordings

WHY = "If yes, give a specific reason."
BOTTLE = (
    "Normally, the image given should depict clear and identifiable bottles. It may have defects "
    "such as broken parts, contaminations."
)
BAGEL = (
    "Normally, the image given should depict a rounded shape with a central hole, consistent with "
    "the typical form of a bagel. It may have defects such as irregularities in the surface "
    "texture, inconsistencies in the hole's shape, or uneven thickness throughout the structure."
)
BREAKFAST = (
    "1. It should contain two oranges, one peach, and some cereal, nuts, and banana slices; 2. The "
    "fruit should be on the left side of the lunch box, the cereal on the upper right, and the "
    "nuts and banana slices on the lower right of the lunch box."
)
SCREWS = (
    "1. Includes two screws, two nuts, and two washers. 2. The screws should be of varying "
    "lengths: one long and one short."
)
PNEUMONIA = "The image given should be classified as normal or pneumonia."
HEMORRHAGE = "The image given should be classified as normal or hemorrhage."

# task, setting, prompt, figures that print it, class, standards, views, and the printed text.
PRINTED = [
    ("industrial", "zero-shot", "naive", (2, 4, 6), "bottle", "", 1,
     f"Please determine whether the image contains anomalies or defects. {WHY}"),
    ("industrial", "zero-shot", "class", (2, 4, 6), "bottle", "", 1,
     f"Please determine whether the image given about the bottle contains anomalies or defects. "
     f"{WHY}"),
    ("industrial", "zero-shot", "expertise", (2, 4, 6), "bottle", BOTTLE, 1,
     f"Please determine whether the image given about the bottle contains anomalies or defects. "
     f"{WHY} {BOTTLE}"),
    ("industrial", "one-shot", "naive", (3, 5, 7), "bottle", "", 1,
     f"The first image is normal. Please determine whether the second image contains anomalies or "
     f"defects. {WHY}"),
    ("industrial", "one-shot", "class", (3, 5, 7), "PCB", "", 1,
     f"The first image given about the PCB is normal. Please determine whether the second image "
     f"given about the PCB contains anomalies or defects. {WHY}"),
    ("industrial", "one-shot", "expertise", (3, 5, 7), "bottle", BOTTLE, 1,
     f"The first image given about the bottle is normal. Please determine whether the second image "
     f"given about the bottle contains anomalies or defects. {WHY} {BOTTLE}"),
    ("industrial-localisation", "zero-shot", "naive", (8, 9, 10), "bottle", "", 1,
     f"The first image needs to be inspected. The second image contains its corresponding marks. "
     f"Please determine whether the image contains anomalies or defects. {WHY}"),
    ("point-cloud", "zero-shot", "naive", (11, 13, 15), "bagel", "", 1,
     f"Please determine whether the rendered depth image contains anomalies or defects. {WHY}"),
    ("point-cloud", "zero-shot", "class", (11, 13, 15), "bagel", "", 1,
     f"Please determine whether the rendered depth image given about the bagel contains anomalies "
     f"or defects. {WHY}"),
    ("point-cloud", "zero-shot", "expertise", (11, 13, 15), "bagel", BAGEL, 1,
     f"Please determine whether the rendered depth image given about the bagel contains anomalies "
     f"or defects. {WHY} {BAGEL}"),
    ("point-cloud", "one-shot", "naive", (12, 14, 16), "bagel", "", 1,
     f"The first rendered depth image is normal. Please determine whether the second rendered "
     f"depth image contains anomalies or defects. {WHY}"),
    ("point-cloud", "one-shot", "class", (12, 14, 16), "peach", "", 1,
     f"The first rendered depth image given about the peach is normal. Please determine whether "
     f"the second rendered depth image given about the peach contains anomalies or defects. {WHY}"),
    ("point-cloud", "one-shot", "expertise", (12, 14, 16), "bagel", BAGEL, 1,
     f"The first rendered depth image given about the bagel is normal. Please determine whether "
     f"the second rendered depth image given about the bagel contains anomalies or defects. {WHY} "
     f"{BAGEL}"),
    ("logical", "zero-shot", "expertise", (17, 18, 19, 20), "breakfast box", BREAKFAST, 1,
     f"The image given about breakfast boxes should obey the following rules: {BREAKFAST} Please "
     f"determine whether the given image contains anomalies or defects. {WHY}"),
    ("logical", "one-shot", "expertise", (17, 18, 19, 20), "screw bag", SCREWS, 1,
     f"The image given about screw bags should obey the following rules: {SCREWS} The first image "
     f"meets all the standards and is normal. Please determine whether the second image contains "
     f"anomalies or defects. {WHY}"),
    ("medical", "zero-shot", "naive", (21, 23, 25, 27), "head CT image", "", 1,
     f"Please determine whether the image contains anomalies. {WHY}"),
    ("medical", "zero-shot", "class", (21, 23, 25, 27), "X-ray image on the chest", "", 1,
     "Please determine whether this X-ray image on the chest contains any anomalies. If yes, "
     "please give your reason."),
    ("medical", "zero-shot", "expertise", (21, 23, 25, 27), "head CT image", HEMORRHAGE, 1,
     f"Please determine whether this head CT image contains any anomalies. If yes, please give "
     f"your reason. {HEMORRHAGE}"),
    ("medical", "one-shot", "naive", (22, 24, 26, 28), "head CT image", "", 1,
     f"The first image is normal. Please determine whether the second image contains anomalies. "
     f"{WHY}"),
    ("medical", "one-shot", "class", (22, 24, 26, 28), "head CT image", "", 1,
     f"The first image of head CT is normal. Please determine whether the second image given "
     f"contains anomalies. {WHY}"),
    ("medical", "one-shot", "expertise", (22, 24, 26, 28), "Chest X-ray", PNEUMONIA, 1,
     f"The first image of Chest X-ray is normal. Please determine whether the second image given "
     f"contains anomalies. {WHY} {PNEUMONIA}"),
    # The figures of the medical localisation end without their full stop.
    ("medical-localisation", "zero-shot", "naive", (29, 30, 31, 32), "skin image", "", 1,
     f"The first image needs to be inspected. The second image contains its corresponding marks. "
     f"Please determine whether the first image contains anomalies or defects. {WHY}"),
    # Figure 33 prints "contains anomalies or outliner points", section 9.2 this.
    ("pedestrian", "zero-shot", "naive", (33,), "street", "", 2,
     f"Please determine whether the video frames contain anomalies or outlier points. {WHY}"),
    # Figure 34 prints "outliner points", figure 35 this.
    ("traffic", "zero-shot", "naive", (34, 35), "street", "", 1,
     f"Please determine whether the image contains anomalies or outlier points. {WHY}"),
    ("time-series", "zero-shot", "naive", (36, 37), "sales", "", 1,
     f"Please determine whether the image contains anomalies or outlier points. {WHY}"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("task", "setting", "prompt", "figures", "name", "standards", "views", "text"),
    PRINTED,
    ids=lambda value: value if value in (*TASKS, *SETTINGS, *PROMPTS) else "",
)
def test_the_document_is_asked_word_for_word(
    task: str,
    setting: str,
    prompt: str,
    figures: tuple[int, ...],
    name: str,
    standards: str,
    views: int,
    text: str,
) -> None:
    references = SETTINGS.index(setting)
    asked = question(
        task, prompt, class_name=name, standards=standards, references=references, views=views
    )
    assert asked == text
    assert (task, setting, prompt, figures) in wordings()


def test_every_figure_of_the_document_has_its_prompts_and_no_other_combination_claims_one() -> None:
    printed = {(task, setting, prompt): figures for task, setting, prompt, figures, *_ in PRINTED}
    assert {row[:3]: row[3] for row in wordings() if row[3]} == printed
    assert {figure for figures in printed.values() for figure in figures} == set(range(2, 38))
