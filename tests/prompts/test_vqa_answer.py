"""The reader of free-text replies, held against what a careful reader takes from each."""

from __future__ import annotations

import json
import re
import time
import timeit
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.places import POSITIONS
from blemish.prompts._vqa_words import units
from blemish.prompts.vqa_answer import read
from blemish.types import Reason

HERE = Path(__file__).parent
CORPUS, MORE, SENTENCES = (
    json.loads(HERE.joinpath(f"vqa_{name}.json").read_text("utf-8"))
    for name in ("replies", "replies_more", "sentences")
)
SAYS_WELL = re.compile(
    r"\b(?:no|none|not|n't|nothing|nobody|without|free|never|neither|normal|fine|good|ok|okay|intact"
    r"|healthy|acceptable|pass(?:es)?|met|meets?|fulfil\w*|satisf\w*|match\w*|correct\w*|complet\w*"
    r"|un\w+|all|both|conform\w*|compl\w*|consistent|same|identical\w*|typical|usual|ordinary|as)\b|['’]t\b|✓|✔|✅",
    re.IGNORECASE,
)
"""Written here on its own: one of these has to stand in a reply that is read as normal."""
PIECES = st.sampled_from((
    "There is", "no", "not", "a crack", "scratches", "The part", "is normal", "is", "might be",
    "however,", "but", "In conclusion,", "the first image", "image 2", "region 3", "regions 5-3",
    "top left", "depending on", "if", "should", "which", "intact", "without", "any", "rule 1",
    "met", "\n- ", "\n1. ", ":", ".", ";", "(", ")", '"', "```", '{"verdict": "normal"', "}",
    "score: 0.9", "score", "I can't help", "| a | b |\n", "whether", "yes,", "all regions except",
    "four screws", "two", "are required", "There are none.", "is not", "only", "the cap",
    "never reaches", "this is just a shadow", "wait,", "Location:",
))  # fmt: skip


def reading(entry: dict[str, Any]) -> Any:
    options = {key: entry[key] for key in ("asked", "ended", "marks", "images")}
    return read(entry["reply"], judged=tuple(entry["judged"]), **options)


@pytest.mark.parametrize("entry", CORPUS + MORE, ids=lambda entry: str(entry["id"]))
def test_corpus(entry: dict[str, Any]) -> None:
    got = reading(entry)
    assert (got.verdict, got.reason) == (entry["verdict"], entry["reason"]), got.words
    assert got.score == entry["score"]
    assert bool(got.words) == (got.verdict == "unsure")
    if got.verdict == "anomalous":
        assert set(got.regions) == set(entry["regions"])
        assert set(got.places) == set(entry["places"])
        for reason in entry["reasons"]:
            assert any(reason.lower() in words.lower() for words in got.reasons), got.reasons


@pytest.mark.parametrize("entry", SENTENCES, ids=lambda entry: f"{entry['of']}: {entry['text']}")
def test_sentences(entry: dict[str, Any]) -> None:
    images = entry.get("images", 1)
    got = read(entry["text"], images=images, judged=(images,), marks=entry.get("marks", ()))
    if entry["says"] == "not normal":
        assert got.verdict != "normal"
    else:
        assert entry["says"] in (got.verdict, got.reason), got.findings
    assert not entry.get("places") or got.places == tuple(entry["places"])


def check(text: str, **options: Any) -> None:
    got = read(text, **options)
    assert got.reason in get_args(Reason)
    assert (got.reason == "") == (got.verdict != "unsure")
    assert set(got.places) <= set(POSITIONS)
    assert got.score is None or 0 <= got.score <= 1
    if got.verdict == "normal":
        assert SAYS_WELL.search(text)
    assert got == read(text, **options)


@given(st.text())
def test_any_text_at_all(text: str) -> None:
    check(text)


@given(st.lists(PIECES, max_size=40).map(" ".join), st.sampled_from(("stop", "length")))
def test_any_order_of_words_it_knows(text: str, ended: str) -> None:
    check(text, ended=ended, marks=(1, 2, 3), images=2, judged=(2,))


@given(st.sampled_from([entry["reply"] for entry in CORPUS + MORE]), st.data())
def test_a_reply_cut_anywhere_is_never_normal_without_words_for_it(
    reply: str, data: st.DataObject
) -> None:
    check(reply[: data.draw(st.integers(0, len(reply)))])


@pytest.mark.parametrize(
    "text",
    [
        "There is no scratch, but the left pin is bent. " * 600,
        "no " * 10_000,
        "a" * 30_000,
        "scratch and " * 2_500,
        "region 1, " * 3_000,
        "top left " * 3_333,
        "the image one " * 2_100,
        "all the regions except for 1 " * 1_000,
        "{[" * 15_000,
        'reads "' * 4_000,
        "1. " * 10_000,
        "| a " * 7_500,
        " " * 29_990 + "crack",
        "*_" * 15_000,
        "four screws where six are required, and " * 800,
        "a cracks, " * 3_000,
        "The cap is green. It must be red. " * 900,
    ],
    ids=lambda text: str(text[:12]),
)
def test_the_time_of_a_reply_grows_as_its_length(text: str) -> None:
    """Twenty times the text takes about twenty times as long; 400 times if a rule were quadratic.

    Against each other in the same process, the best of three by the thread's own clock and without
    the collector, since absolute times are noise.
    """

    def seconds(length: int, rounds: int) -> float:
        took = timeit.repeat(
            lambda: read(text[-length:], marks=(1,), images=2, judged=(2,)),
            timer=time.thread_time,
            number=rounds,
            repeat=3,
        )
        return min(took) / rounds

    read("Warm up.", marks=(1,), images=2)
    assert seconds(30_000, 1) < 100 * seconds(1_500, 5) + 0.05


@pytest.mark.parametrize(
    "entry",
    [one for one in CORPUS + MORE if one["verdict"] == "anomalous" and one["reply"][:1] != "{"],
    ids=lambda entry: str(entry["id"]),
)
def test_a_defect_of_unknown_name_is_never_normal(entry: dict[str, Any]) -> None:
    text = entry["reply"]
    for unit in reversed(units(text)):
        if unit.kind == "defect" and " " not in unit.text:
            text = f"{text[: unit.start]}florbed{text[unit.end :]}"
    assert reading({**entry, "reply": text}).verdict != "normal", text


def test_a_reply_longer_than_any_answer_is_not_read() -> None:
    assert read("No defects. " * 5_000).reason == "unparsed"


@pytest.mark.parametrize(
    ("asked", "verdict"),
    [
        ("Is there an anomaly in the image?", "anomalous"),
        ("Is the part normal?", "normal"),
        ("Is the part normal or defective?", "anomalous"),
        ("", "anomalous"),
    ],
)
def test_the_question_decides_what_yes_means(asked: str, verdict: str) -> None:
    assert read("Yes.", asked=asked).verdict == verdict


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("The wax weighs approx. 3.5 mm. more than fig. 2 shows. It is cracked.", ["anomalous"]),
        ("The thread is broken; the cap is intact.", ["anomalous", "normal"]),
        ("A crack may run along the rim.", ["hedged"]),
        ("It should have no cracks.", []),
        ("I looked for scratches and dents.", []),
    ],
)
def test_findings_say_what_their_clause_says(text: str, says: list[str]) -> None:
    assert [finding.says for finding in read(text).findings] == says


@pytest.mark.parametrize(
    "text",
    [
        "The left connector has no cap, which is an anomaly.",
        "The seal is not tight and shows a crack.",
        "With no cap the bottle is defective.",
        "The broken pin is not cracked.",
        "There is no label on the bottle, and this is not acceptable.",
        "No cap is present on the bottle, so the bottle is not normal.",
        "The part isn't normal.",
        "The part is not without damage.",
        "I would not call this part normal.",
        "I don't think this part is normal.",
        "It would be wrong to call this normal.",
        "This is hardly a normal bottle.",
        "The part is not in good condition.",
        "The part would be normal if the screw were there.",
        "A normal bottle has a smooth rim.",
        "The standard says a normal bottle has no cracks.",
        "Normal parts are intact.",
        "The part is normal except for a missing screw.",
        "The part is not normal, it has no cap.",
        "I can't see any reason to call it normal.",
        "There are no signs that the part is intact.",
        "Whether it is normal is unclear.",
        "It may be normal.",
        "It should be normal.",
        "Is the part normal?",
        "Normal or anomalous?",
        "The part cannot be considered normal.",
        "The part was normal before the crack appeared.",
        "The seal is neither intact nor tight.",
        "There is no doubt that the part is defective.",
        "No, the part is not normal.",
        "It fails to meet the standard.",
        "None of the rules is met.",
        "Not all rules are met.",
        "Only one of the rules is met.",
        "The part lacks the usual intact seal.",
        "The rules are not both satisfied.",
        "It's not the case that the part is free of defects.",
        "The part is far from flawless.",
        "The part is less than perfect.",
        "If there were no scratch the part would be normal.",
        "It is not true that there are no defects.",
        "I am not convinced that the part is normal.",
        "The part seems normal at first glance but has a crack.",
        "The part is not exactly normal.",
        "This is not a normal part.",
        "The picture does not show a normal part.",
        "No normal part looks like this.",
        "The cap is not properly closed.",
        "The connector is no longer intact.",
        "Nothing about this is normal.",
        "The left one is normal, the right one has a crack.",
        "All parts are normal but one.",
        "All but one of the pins are straight.",
        "There is no way this part is ok.",
        "I cannot call this part good.",
        "Normal: no.",
        "Intact? No.",
        "Passed: no",
        "Verdict: not normal",
        "Defects: yes",
        "Free of defects: no",
        "OK: false",
        "I doubt that this part is normal.",
        "It is unlikely that the part is normal.",
        "No defects? I doubt it.",
        "Only region 3 is normal.",
    ],
)
def test_good_words_that_do_not_say_normal(text: str) -> None:
    assert read(text).verdict != "normal"


@pytest.mark.parametrize("images", [1, 2])
def test_a_list_under_another_image_says_nothing_of_the_judged_one(images: int) -> None:
    text = "First image:\n- the cap is intact\n- no scratches"
    got = read(text, images=images, judged=(images,))
    assert got.verdict == ("normal" if images == 1 else "unsure")


@pytest.mark.parametrize(
    ("text", "regions"),
    [
        ("All regions but 2 show rust.", (1, 3, 4)),
        ("All regions except for region 3 are normal.", (3,)),
        ('The areas labeled as "2" and "4" are cracked.', (2, 4)),
        ("Regions 2-4 are bent.", (2, 3, 4)),
        ("There is a dent. It is located at mark 3.", (3,)),
    ],
)
def test_regions(text: str, regions: tuple[int, ...]) -> None:
    got = read(text, marks=range(1, 5), images=2, judged=(1, 2))
    assert (got.verdict, got.regions) == ("anomalous", regions)


def test_normal_of_some_regions_is_not_normal_of_all() -> None:
    text = "Region 1 covers the cap. Region 2 is normal."
    assert read(text, marks=(1, 2)).verdict == "unsure"
