"""IAD-GPT's kinds of anomaly: the printed dialogue, its repairs, and the bank."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import ChatError, InputError
from blemish.llms.scripted import Scripted
from blemish.prompts import apg
from blemish.prompts.generated import bank, banked, read, write
from blemish.types import Message, Reply

PARAGRAPH = "An abnormal image of leather may display several signs of damage, such as cracks."
KEYWORDS = (
    "Here are the extracted keywords that describe leather anomalies from the text: crack, tear"
)
ANSWERS = (
    "Cracks: An abnormal leather might have cracks in the surface, indicating dryness.\n"
    "Tears: An abnormal leather might be torn open."
)
CRACK = "crack: an abnormal leather might have cracks in the surface, indicating dryness"
TEAR = "tear: an abnormal leather might be torn open"
BANK = sorted(p.name for p in files("blemish.prompts").joinpath("bank/apg").iterdir())


def model(*replies: str | Reply) -> Scripted:
    return Scripted(replies, name="made-up")


def asked(of: Scripted) -> list[list[str]]:
    return [[message.text for message in messages] for messages in of.asked]


def test_the_dialogue_is_the_printed_one() -> None:
    asking = model(f"<think>hm</think>{PARAGRAPH}", KEYWORDS, ANSWERS)
    made = apg.generate("leather", asking)
    assert (made.class_name, made.style, made.made_by) == ("leather", "apg", "made-up")
    assert made.fingerprint == asking.fingerprint
    assert (made.normal, made.abnormal, made.descriptors) == ((), (CRACK, TEAR), ("crack", "tear"))
    assert apg.kinds(made) == {CRACK: "crack", TEAR: "tear"}
    first, second, third = asked(asking)
    assert first == ["Describe in a paragraph what an abnormal image of leather may looks like?"]
    assert second[:2] == [*first, PARAGRAPH]
    assert second[2].startswith(
        "Read the above text and extract keywords that describe leather anomalies."
    )
    assert third[:4] == [*second, "crack\ntear"]
    assert third[4].startswith(
        'Answer each keyword in a form similar to "stains:an abnormal carpet should have stains.".'
    )
    roles = [message.role for message in asking.asked[2]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    assert [query.asked for query in made.queries] == [first[0], second[2], third[4]]
    assert [query.reply for query in made.queries][1:] == [KEYWORDS, ANSWERS]


def test_each_turn_is_asked_again_with_what_was_wrong() -> None:
    carpet = "crack: an abnormal carpet should have cracks.\nTears: An abnormal leather is torn."
    asking = model(
        *("Yes.", PARAGRAPH, "Cracks", KEYWORDS),
        *(carpet, "Crack: an abnormal leather has cracks"),
    )
    made = apg.generate("leather", asking)
    assert made.descriptors == ("crack", "tear")
    assert made.abnormal == (
        "crack: an abnormal leather has cracks",
        "tear: an abnormal leather is torn",
    )
    questions = [texts[-1] for texts in asked(asking)]
    again = "Your last answer to this question could not be used: "
    assert [question.startswith(again) for question in questions] == 3 * [False, True]
    assert questions[1].endswith(f"it has fewer than 8 words. {questions[0]}")
    assert "it holds no keyword but 'cracks'" in questions[3]
    assert "'keyword: an abnormal leather ...' for crack." in questions[5]
    assert [len(texts) for texts in asked(asking)] == [1, 1, 3, 3, 5, 5]
    assert [query.asked for query in made.queries] == questions


def test_a_keyword_without_its_sentence_is_left_out_at_the_end() -> None:
    answer = "Tear: an abnormal leather is torn open"
    asking = model(PARAGRAPH, KEYWORDS, answer, answer, "I'm sorry, but I can't help with that.")
    made = apg.generate("leather", asking)
    assert (made.abnormal, made.descriptors) == (
        ("tear: an abnormal leather is torn open",),
        ("tear",),
    )
    assert len(asking.asked) == 5


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ([], "I'm sorry, but I can't help with that.", "no description of .*refused.*I'm sorry"),
        ([], Reply("", ended="stop"), "no description of .*empty reply"),
        ([], Reply("Leather.", ended="refused"), "the endpoint says that the model refused"),
        ([], "Ein fehlerhaftes Leder kann Risse und Flecken auf der Fläche haben.", "not in Engl"),
        ([PARAGRAPH], "Anomalies, defects, other, etc.", "no keywords of .*it holds no keyword;"),
        ([PARAGRAPH, KEYWORDS], ANSWERS.replace("leather", "hinge"), "no sentence in the fixed"),
    ],
)
def test_a_model_that_says_nothing_useful_is_an_error(
    good: Sequence[str], bad: Any, words: str
) -> None:
    asking = model(*good, bad, bad, bad)
    with pytest.raises(ChatError, match=words) as told:
        apg.generate("leather", asking)
    assert "made-up gave" in str(told.value)
    assert "about the class 'leather'" in str(told.value)
    assert "by hand" in str(told.value)
    assert len(asking.asked) == len(good) + 3


@pytest.mark.parametrize(
    "said",
    [
        "crack, tear and hole",
        "Keywords: Crack; Tear; Hole.",
        "The leather anomalies are: a crack, the tear, and a hole, etc.",
        "- Crack\n- Tear\n- Hole\n\nLet me know if you need more!",
        "Sure! Here they are:\n1. **Crack**: a fine line\n2. **Tear** (open)\n3. **Hole** - round",
        "Crack\nTear\nHole\nCracks\nTEAR",
        '```json\n{"keywords": ["crack", "tear", "hole",]}\n```',
        "| keyword | meaning |\n|---|---|\n| crack | |\n| tear | |\n| hole | |",
        "- crack\n- tear\n- hole\n- the surface of it is rather uneven\n- defects\n- what else?",
    ],
)
def test_keywords_are_read_from_any_list(said: str) -> None:
    asking = model(PARAGRAPH, said, *3 * ["hole: an abnormal leather has holes"])
    apg.generate("leather", asking)
    assert asked(asking)[2][3] == "crack\ntear\nhole"


def test_a_list_that_is_cut_off_loses_its_end_and_a_long_one_too() -> None:
    cut = Reply("- crack\n- tear\n- ho", ended="length")
    asking = model(PARAGRAPH, cut, ANSWERS)
    assert apg.generate("leather", asking).descriptors == ("crack", "tear")
    many = [f"mark {letter * 2}" for letter in "abcdefghijklmnop"]
    answers = "\n".join(f"{one}: an abnormal leather has it here" for one in many)
    made = apg.generate("leather", model(PARAGRAPH, "\n".join(many), answers))
    assert made.descriptors == tuple(many[:12])


@pytest.mark.parametrize(
    "said",
    [
        "hairline crack: An abnormal metal nut has a thin line.",
        "1. **Hairline cracks** - the anomalous Metal Nut has a thin line",
        '{"hairline crack": "An abnormal image of a metal nut has a thin line"}',
        "**Hairline Crack**:\nAn abnormal metal nuts has a thin line",
        "| hairline crack | an abnormal metal_nut has a thin line |",
        "Hairline crack: has a thin line",
        "dent: a nut with a dent. Hairline crack: An abnormal metal nut has a thin line.",
        "crack: a metal nut is cracked\nhairline crack: a defective metal nut has a thin line",
    ],
)
def test_answers_are_brought_into_the_fixed_form(said: str) -> None:
    asking = model(PARAGRAPH, "hairline crack, dent", *3 * [said])
    made = apg.generate("metal_nut", asking)
    assert made.abnormal == ("hairline crack: an abnormal metal nut has a thin line",)


def test_a_sentence_is_never_longer_than_clip_reads() -> None:
    long = "crack: an abnormal leather has a crack, " + "which is long, " * 40
    made = apg.generate("leather", model(PARAGRAPH, KEYWORDS, *3 * [long]))
    assert 20 < len(made.abnormal[0].split()) <= 41  # the keyword and 40 words


WORDS = st.sampled_from(
    [
        *("crack", "Tears", "an abnormal leather", " has ", "a", "\n", "- ", "1. ", ":", "**", "|"),
        *(
            ", ",
            '"',
            "{",
            "}",
            "[",
            "]",
            ". ",
            "<think>",
            "\ud800",
            "normal",
            "keywords",
            "裂",
            "(",
        ),
    ]
)


@given(st.lists(st.lists(WORDS, max_size=15).map("".join), min_size=9, max_size=9))
def test_any_replies_give_prompts_in_the_fixed_form_or_the_own_error(said: list[str]) -> None:
    left = list(said)

    def reply(messages: Sequence[Message]) -> str:
        turn = (PARAGRAPH, KEYWORDS, "")[len(messages) // 2]
        return f"{turn}\n{left.pop()}"

    asking = Scripted(reply)
    try:
        made = apg.generate("leather", asking)
    except ChatError:
        made = None
    assert len(asking.asked) <= 9
    for prompt, kind in apg.kinds(made).items() if made else ():
        assert prompt.startswith(f"{kind}: an abnormal leather ")
        assert "\n" not in prompt
        assert kind == kind.strip()


@pytest.mark.parametrize(
    "said", ["*" * 29_000, "crack " * 4_900, "crack:" * 4_900, "- " * 14_000, "| " * 14_000]
)
def test_a_long_reply_costs_no_time(said: str) -> None:
    start = time.process_time()
    with pytest.raises(ChatError):
        apg.generate("leather", model(PARAGRAPH, KEYWORDS, *3 * [said]))
    assert time.process_time() - start < 2


def test_a_file_of_kinds_is_kept_and_read_back(tmp_path: Path) -> None:
    made = apg.generate("leather", model(PARAGRAPH, KEYWORDS, ANSWERS))
    write(made, tmp_path / "leather.json")
    assert read(tmp_path / "leather.json") == made
    body = json.loads((tmp_path / "leather.json").read_text("utf-8"))
    assert body["normal"] == []
    for change, words in (
        ({"descriptors": ["crack"]}, "2 abnormal prompts and 1 descriptors"),
        ({"descriptors": ["tear", "crack"]}, "does not begin with its descriptor, 'tear:'"),
        ({"abnormal": []}, "abnormal: "),
    ):
        (tmp_path / "other.json").write_text(json.dumps(body | change))
        with pytest.raises(InputError, match=words):
            read(tmp_path / "other.json")


def test_the_files_of_the_guide_can_be_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text("utf-8")
    shown = re.findall(r"```json\n(.*?)```", guide, re.DOTALL)
    for number, text in enumerate(shown):
        (tmp_path / f"{number}.json").write_text(text, "utf-8")
    assert [read(tmp_path / f"{n}.json").style for n in range(len(shown))] == ["alfa", "apg"]


@pytest.mark.parametrize("name", BANK)
def test_the_bank_has_six_to_twelve_kinds_in_the_fixed_form(name: str) -> None:
    made = read(str(files("blemish.prompts").joinpath("bank/apg", name)))
    assert (made.style, made.made_by, made.queries) == ("apg", "written for this project", ())
    assert 6 <= len(made.descriptors) <= 12
    for prompt, kind in apg.kinds(made).items():
        assert prompt.startswith(f"{kind}: {apg.subject(made.class_name)} ")
        assert len(kind.split()) <= 5
        assert len(prompt.split()) <= 40
    beside = bank(made.class_name)
    assert beside
    assert made.names == beside.names
    assert {bank(one, "apg") for one in made.names} == {made}


def test_the_bank_covers_the_document_s_classes_and_stays_apart() -> None:
    classes = json.loads(files("blemish").joinpath("classes.json").read_text("utf-8"))
    wanted = [category for data in ("mvtec-ad", "visa") for category in classes[data]]
    assert len(wanted) == 27
    for category in (*wanted, "magnetic tiles", "monocrystalline solar cell", "object"):
        assert bank(category, "apg"), category
    assert {one.style for one in banked()} == {"alfa"}
    assert len(banked("apg")) == len(BANK)


def test_a_ranking_is_told_best_first() -> None:
    found = [("tear", 0.1), ("crack", 0.8), ("hole", 0.06), ("stain", 0.04)]
    assert apg.ranked(found) == (
        'Of 4 kinds, "crack" fits best (80%), then "tear" (10%), "hole" (6%).'
    )
    assert apg.ranked([("tear", 0.001), ("crack", 0.999)]) == (
        'Of 2 kinds, "crack" fits best (100%).'
    )
    assert "only kind" in apg.ranked([("tear", 1.0)])
    assert "No kinds" in apg.ranked([])
