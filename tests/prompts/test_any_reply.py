"""Any reply at all: no exception, and never a "normal" that the reply does not say.

`benchmarks/parser_fuzz.py` makes the replies, and says independently of the readers what declares
a part normal; it also runs hundreds of thousands of them.
"""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blemish.prompts.gpt4v_ad import Answer, parse

REGIONS = range(1, 58)
ANY = st.text(st.characters(codec=None))  # halves of surrogate pairs as well


@pytest.fixture(scope="session")
def fuzz(module: Callable[[Path], ModuleType]) -> ModuleType:
    return module(Path(__file__).parents[2] / "benchmarks" / "parser_fuzz.py")


def check(fuzz: ModuleType, text: str) -> None:
    """No exception; an answer or a problem; and who reads "normal" was told so."""
    for read in fuzz.READERS.values():
        answer = read(text)
        assert answer.problem in ("", "refused", "unparsed")
        assert bool(answer.problem) == bool(answer.words)
        assert not (answer.problem and answer.scores)
        assert all(0 <= score <= 1 for score in answer.scores.values())
        if fuzz.read_as(answer) == "normal":
            assert fuzz.declares(text), text
    assert set(fuzz.READERS["regions"](text).scores) <= set(REGIONS)


@given(ANY | st.text(alphabet='region 0123456789.:;,%-|{}[]"anomliesNone\n*区域，'))
@example("[" * 5000)
@example('{"regions":' * 5000)
@example('"{' * 5000)
@example("region " + "1," * 5000)
@example("| region | score |\n" * 1000)
@example("a a a an an of of : : " * 1000)
@example('{"regions": [{"number": 4, "score": ' + "9" * 5000 + "}]}")
def test_any_text_at_all_gives_an_answer_or_a_problem(fuzz: ModuleType, text: str) -> None:
    check(fuzz, text)


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_pieces_of_real_replies_never_become_a_normal_that_none_says(
    fuzz: ModuleType, draw: random.Random
) -> None:
    check(fuzz, fuzz.reply(draw))


@given(st.data())
def test_doubts_beside_a_declaration_are_never_normal(
    fuzz: ModuleType, data: st.DataObject
) -> None:
    """Whatever stands with it: a declaration and a doubt together are none."""
    said = data.draw(st.sampled_from(fuzz.PIECES["denied"]))
    doubt = data.draw(st.sampled_from(["I am not sure", "except for the top", "but a crack", "不"]))
    parts = data.draw(st.permutations([said, doubt, data.draw(ANY)]))
    between = data.draw(st.sampled_from([" ", "\n", ". ", ", "]))
    answer = parse(between.join(parts), REGIONS)
    assert answer.problem or any(answer.scores.values())


@given(
    st.dictionaries(st.integers(1, 57), st.integers(51, 100), min_size=1, max_size=6),
    st.sampled_from(["plain", "json", "table"]),
    st.data(),
)
def test_a_damaged_answer_never_becomes_a_normal_one(
    percent: dict[int, int], form: str, damage: st.DataObject
) -> None:
    scores = {n: p / 100 for n, p in percent.items()}
    text = written(scores, form)
    if scores != {1: 0.9, 3: 0.7}:
        assert parse(text, REGIONS).scores == scores
    place = damage.draw(st.integers(0, len(text)))
    length = damage.draw(st.integers(0, 12))
    put = damage.draw(st.text(alphabet=string.printable + "域，：", max_size=6))
    answer = parse(text[:place] + put + text[place + length :], REGIONS)
    assert answer.problem or answer.scores


def written(scores: dict[int, float], form: str) -> str:
    if form == "plain":
        return "; ".join(f"region {n}: {s}" for n, s in scores.items())
    if form == "json":
        return json.dumps({"regions": [{"number": n, "score": s} for n, s in scores.items()]})
    rows = "\n".join(f"| {n} | {s} |" for n, s in scores.items())
    return f"| Region | Score |\n|---|---|\n{rows}"


@pytest.mark.parametrize(
    ("text", "says_so"),
    [
        ("No anomalies.", True),
        ("Answer: none. All regions appear normal.", True),
        ("Keine Anomalien. 未发现异常。", True),
        ('```json\n{"regions": []}\n```', True),
        ("region 4: 0.0", True),
        ("image anomaly score: 0.05", True),
        ("", False),
        ("Answer:", False),
        ("not normal", False),
        ("No region is normal.", False),
        ("No anomalies? I am not sure.", False),
        ("No anomalies but region 4", False),
        ("There are anomalies.", False),
        ("Not all regions are normal.", False),
        ("不正常", False),
        ("没有异常，但是有缺陷", False),
        ("region 4: 0.01", False),
        ("image anomaly score: 0.5", False),
    ],
)
def test_what_a_declaration_is(fuzz: ModuleType, text: str, says_so: bool) -> None:
    assert fuzz.declares(text) == says_so


def test_a_reader_that_takes_everything_for_normal_is_found_out(
    fuzz: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fuzz.run(300, seed=0).wrong == []
    monkeypatch.setitem(fuzz.READERS, "boxes", lambda text: Answer())
    tally = fuzz.run(300, seed=0)
    assert tally.counts["boxes"]["false normal"] == len(tally.wrong) > 200
    assert sum(tally.counts["boxes"].values()) == 300
