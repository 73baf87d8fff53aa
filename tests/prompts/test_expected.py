"""Scores as expected values, against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from blemish.prompts.expected import expected_scores
from blemish.types import Token


def token(text: str, others: dict[str, float]) -> Token:
    """A token and the probabilities of its alternatives; the rest belongs to itself."""
    own = 1 - sum(others.values())
    return Token(text, math.log(own), {k: math.log(p) for k, p in {text: own, **others}.items()})


def plain(*texts: str) -> list[Token]:
    return [Token(text, 0.0, {text: 0.0}) for text in texts]


def weighed(tokens: list[Token], scores: dict[int, float]) -> dict[int, float]:
    found = expected_scores(tokens, scores, None)
    assert found is not None
    assert found[1] is None
    return found[0]


def test_the_digits_that_were_weighed_make_the_score() -> None:
    number = [token("0", {"1": 0.1}), *plain("."), token("9", {"8": 0.3, "7": 0.2})]
    tokens = [*plain("region", " ", "12", ":", " "), *number, *plain("; region 3: 0.4.")]
    twelve = 0.1 * 1 + 0.9 * (0.5 * 0.9 + 0.3 * 0.8 + 0.2 * 0.7)
    assert weighed(tokens, {12: 0.9, 3: 0.4}) == pytest.approx({12: twelve, 3: 0.4})


def test_a_score_in_one_token_and_with_neighbours_in_it() -> None:
    whole = [*plain("region 4:"), token(" 0.9", {" 0.8": 0.25})]
    assert weighed(whole, {4: 0.9}) == {4: pytest.approx(0.875)}
    tail = [*plain("region 4: 0."), token("9;", {"8;": 0.5})]
    assert weighed(tail, {4: 0.9}) == {4: pytest.approx(0.85)}


def test_what_is_no_score_is_left_out_of_the_weights() -> None:
    tokens = [*plain("region 4: 0."), token("9", {"5": 0.25, "high": 0.25, "x": 0.1})]
    assert weighed(tokens, {4: 0.9}) == {4: pytest.approx((0.4 * 0.9 + 0.25 * 0.5) / 0.65)}
    over = [*plain("region 4: "), token("1", {"2": 0.5})]
    assert weighed(over, {4: 1.0}) == {4: 1.0}


def test_json_and_the_image_score() -> None:
    text = '{"image_score": 0.8, "regions": [{"number": 4, "score": 0.9}]}'
    assert expected_scores(plain(*text), {4: 0.9}, 0.8) == ({4: 0.9}, 0.8)
    written = "image anomaly score: 0.8; region 4: 0.9."
    assert expected_scores(plain(*written), {4: 0.9}, 0.8) == ({4: 0.9}, 0.8)


@pytest.mark.parametrize("text", ["Region 4 - 0.9", "region 4: 90%", "region 5: 0.9", "0.9"])
def test_a_score_that_stands_elsewhere_keeps_what_was_written(text: str) -> None:
    assert expected_scores(plain(*text), {4: 0.9}, None) is None


def test_without_tokens_there_is_nothing_to_weigh() -> None:
    assert expected_scores([], {4: 0.9}, None) is None


def test_endpoints_that_write_minus_9999_for_none() -> None:
    tokens = [*plain("region 4: 0."), Token("9", -9999.0, {"9": -9999.0, "8": -9999.0})]
    assert weighed(tokens, {4: 0.9}) == {4: pytest.approx(0.85)}
