"""The calibration against scipy's own t-distribution, and against simulated normal parts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blemish.calibration import (
    COPIES_DF,
    COPIES_SCALE,
    COPIES_SHIFT,
    LEFT_OUT_SHIFT,
    MOST_ALARMS,
    ODDS_PRIOR_SCALE,
    PRIOR_DF,
    PRIOR_SCALE,
    RISE,
    RISE_SCALE,
    Calibration,
)
from blemish.errors import InputError, OptionError, SavedError

RAW = [0.10, 0.12, 0.11, 0.13, 0.09]


def test_score_is_the_predictive_tail_of_student_t() -> None:
    logs = np.log(RAW)
    df = len(RAW) - 1 + PRIOR_DF
    scale = math.sqrt((PRIOR_DF * PRIOR_SCALE**2 + ((logs - logs.mean()) ** 2).sum()) / df)
    calibration = Calibration.from_normals(RAW, false_alarms=0.05)
    for raw in (0.05, 0.11, 0.2, 0.9):
        standard = (math.log(raw) - logs.mean()) / (scale * math.sqrt(1 + 1 / len(RAW)))
        p = stats.t.sf(standard, df)
        assert calibration.score(raw) == pytest.approx(0.05 / (0.05 + p), rel=1e-9)


@pytest.mark.parametrize("false_alarms", [0.001, 0.02, 0.5])
def test_the_operating_point_scores_one_half(false_alarms: float) -> None:
    calibration = Calibration.from_normals(RAW).moved(false_alarms)
    assert calibration.score(calibration.threshold) == pytest.approx(0.5, abs=1e-9)


@given(st.lists(st.floats(0, 2), min_size=2, max_size=30))
def test_the_score_rises_with_the_raw_score_and_stays_in_range(raw: list[float]) -> None:
    scores = Calibration.from_normals(RAW).score(np.sort(np.asarray(raw)))
    assert (np.diff(scores) >= 0).all()
    assert ((scores >= 0) & (scores <= 1)).all()


def test_a_map_is_scored_pixel_by_pixel() -> None:
    calibration = Calibration.from_normals(RAW)
    raw = np.array([[0.1, 0.2], [0.0, 0.15]], np.float32)
    one_by_one = [[calibration.score(float(v)) for v in row] for row in raw]
    scored = calibration.score(raw)
    assert scored.dtype == np.float32
    np.testing.assert_allclose(scored, one_by_one, rtol=1e-5)


def test_normal_parts_raise_as_many_alarms_as_asked_for() -> None:
    """Predictive coverage: over parts whose spread follows the prior, the target is met."""
    random = np.random.default_rng(0)
    alarms = []
    for _ in range(4000):
        spread = PRIOR_SCALE * math.sqrt(PRIOR_DF / random.chisquare(PRIOR_DF))
        scores = np.exp(random.normal(-2, spread, 9))
        calibration = Calibration.from_normals(scores[:8].tolist(), false_alarms=0.05)
        alarms.append(scores[8] > calibration.threshold)
    assert np.mean(alarms) == pytest.approx(0.05, abs=0.012)


def test_a_minority_of_defects_hardly_moves_the_mixed_calibration() -> None:
    normals = np.exp(np.random.default_rng(1).normal(-2, 0.1, 60))
    clean = Calibration.from_mixed(normals.tolist())
    mixed = Calibration.from_mixed([*normals.tolist(), *[1.5] * 15])
    assert mixed.threshold < 1.25 * clean.threshold
    assert Calibration.from_normals([*normals.tolist(), *[1.5] * 15]).threshold > 1.0


def test_copies_of_one_part_set_a_higher_and_wider_point_than_parts_do() -> None:
    copies, parts = Calibration.from_copies(RAW), Calibration.from_normals(RAW)
    tail = stats.t.isf(0.05, COPIES_DF) * COPIES_SCALE * math.sqrt(1 + 1 / len(RAW))
    want = math.exp(np.log(RAW).mean() + COPIES_SHIFT + tail)
    assert copies.moved(0.05).threshold == pytest.approx(want)
    assert copies.threshold > parts.threshold


def test_moving_there_and_back_changes_nothing() -> None:
    calibration = Calibration.from_copies(RAW, rule="copies")
    assert calibration.moved(0.2).moved(calibration.false_alarms) == calibration


def test_verdicts_and_the_band_between() -> None:
    calibration = Calibration.from_normals(RAW)
    assert calibration.verdict(0.1) == ("normal", "")
    assert calibration.verdict(1.0) == ("anomalous", "")
    assert calibration.verdict(calibration.threshold) == ("unsure", "inside the band")
    assert calibration.verdict(math.nan) == ("unsure", "nothing to decide on")


def test_moving_the_operating_point_changes_verdicts_and_nothing_else() -> None:
    calibration = Calibration.from_normals(RAW)
    strict, lax = calibration.moved(0.2), calibration.moved(0.001)
    assert strict.threshold < calibration.threshold < lax.threshold
    assert (strict.location, strict.scale, strict.n) == (lax.location, lax.scale, lax.n)


def test_json_brings_it_back() -> None:
    calibration = Calibration.from_normals(RAW, rule="five parts")
    assert Calibration.from_json(calibration.to_json()) == calibration


def test_bad_values_say_what_came() -> None:
    with pytest.raises(InputError, match="0 scores"):
        Calibration.from_normals([])
    with pytest.raises(InputError, match="1 of them not finite"):
        Calibration.from_normals([0.1, math.nan])
    with pytest.raises(OptionError, match=r"0\.7"):
        Calibration.from_normals(RAW, false_alarms=0.7)
    with pytest.raises(SavedError, match=r"Fit the detector again"):
        Calibration.from_json({"location": 0})


def test_scores_with_an_upper_end_are_taken_by_their_odds() -> None:
    raw = [0.2, 0.3, 0.25, 0.4]
    odds = np.log(np.array(raw) / (1.5 - np.array(raw)))
    found = Calibration.from_normals(raw, bound=1.5)
    df = len(raw) - 1 + PRIOR_DF
    squares = ((odds - odds.mean()) ** 2).sum()
    scale = math.sqrt((PRIOR_DF * ODDS_PRIOR_SCALE**2 + squares) / df)
    assert found.location == pytest.approx(odds.mean())
    assert found.scale == pytest.approx(scale)
    at = odds.mean() + stats.t.isf(0.05, df) * scale * math.sqrt(1 + 1 / len(raw))
    assert found.threshold == pytest.approx(1.5 / (1 + math.exp(-at)))
    assert found.score(found.threshold) == pytest.approx(0.5, abs=1e-9)
    assert Calibration.from_json(found.to_json()) == found


@given(st.lists(st.floats(0, 0.97), min_size=1, max_size=9))
def test_the_upper_end_itself_is_never_normal(raw: list[float]) -> None:
    for make in (Calibration.from_normals, Calibration.from_copies):
        found = make(raw, bound=1.0)
        assert found.threshold < 1
        assert found.verdict(1.0)[0] == "anomalous"


@pytest.mark.parametrize("raw", [RAW, [0.1, 0.2]])
def test_the_even_operating_point_misses_as_many_as_it_raises(raw: list[float]) -> None:
    """Of as many drawn normal and anomalous scores, the same share falls on the wrong side."""
    random = np.random.default_rng(0)
    calibration = Calibration.from_normals(raw).even()
    wide = calibration.scale * math.sqrt(1 + 1 / len(raw))
    normal = calibration.location + wide * random.standard_normal(100_000)
    rise = np.hypot(RISE_SCALE, wide) * random.standard_normal(100_000)
    at = math.log(calibration.threshold)
    assert np.mean(normal > at) == pytest.approx(
        np.mean(calibration.location + RISE + rise < at), abs=5e-3
    )
    assert calibration.false_alarms == pytest.approx(np.mean(normal > at), abs=0.03)


def test_left_out_references_are_worth_less_the_more_there_are() -> None:
    for n in (2, 4, 16):
        point = Calibration.from_normals(RAW[:2] * (n // 2))
        lower = math.log(point.threshold) - math.log(point.left_out().threshold)
        assert lower == pytest.approx(LEFT_OUT_SHIFT / n)
        assert point.left_out().scale == point.scale


@given(st.lists(st.floats(0, 0.5), min_size=1, max_size=6), st.floats(0.005, 0.4), st.booleans())
def test_missed_defects_are_found_as_far_as_further_good_parts_allow(
    missed: list[float], before: float, corrected: bool
) -> None:
    first = Calibration.from_normals(RAW, false_alarms=before)
    first = first.left_out() if corrected else first
    after = first.finding(missed)
    wide = first.scale * math.sqrt(1 + 1 / first.n)
    shift = 0 if corrected else LEFT_OUT_SHIFT / first.n
    for raw in missed:
        z = (math.log(max(raw, 1e-6)) - first.location) / wide
        # Anomalous where a / (a + p) > 0.6, with a target a of at most one half.
        target = 1.5 * stats.t.sf(z, first.df)
        outdone = stats.t.sf(z + shift / wide, first.df)
        if outdone < 0.99 * MOST_ALARMS and target < 0.49:
            assert after.verdict(raw)[0] == "anomalous"
        if (outdone > MOST_ALARMS or target > 0.5) and target > 1.02 * after.false_alarms:
            assert after.verdict(raw)[0] != "anomalous"
    assert before <= after.false_alarms <= 0.5
    assert after.threshold <= first.threshold


def test_no_missed_defect_is_worth_more_than_its_share_of_good_parts() -> None:
    """Whatever is told, no more than a fifth of further good parts scores as high."""
    point = Calibration.from_normals(RAW)
    for raw in np.linspace(0.05, 0.3, 60):
        after = point.finding([float(raw)])
        if after is not point:
            assert point.left_out().moved(MOST_ALARMS).score(float(raw)) >= 0.5


@pytest.mark.parametrize("corrected", [False, True])
def test_the_expected_alarms_are_those_of_drawn_good_parts(corrected: bool) -> None:
    point = Calibration.from_normals(RAW, false_alarms=0.2)
    point = point.left_out() if corrected else point
    lower = point.left_out().location
    wide = point.scale * math.sqrt(1 + 1 / point.n)
    drawn = np.exp(lower + wide * np.random.default_rng(0).standard_t(point.df, 4000))
    called = np.mean([point.verdict(float(raw))[0] == "anomalous" for raw in drawn])
    assert point.alarms == pytest.approx(called, abs=0.02)
    assert point.alarms < point.false_alarms


@given(st.floats(0.05, 0.3))
def test_a_moved_operating_point_is_expected_to_raise_what_the_bound_allows(raw: float) -> None:
    point = Calibration.from_normals(RAW)
    after = point.finding([raw])
    assert point.alarms <= after.alarms <= 1.02 * MOST_ALARMS


def test_correcting_for_being_left_out_happens_once() -> None:
    once = Calibration.from_normals(RAW).left_out()
    assert once.left_out() == once
    assert Calibration.from_json(once.to_json()) == once


def test_what_is_found_already_moves_nothing_and_the_rule_says_what_did() -> None:
    point = Calibration.from_normals(RAW, rule="scores of 5 references")
    assert point.finding([]) is point
    assert point.finding([0.5, 0.1]) is point  # the one is found, the other looks like a good part
    told = point.finding([0.5, 0.1, point.threshold])
    assert told.rule == "scores of 5 references; lowered until 2 of 3 missed defects are found"
