"""Time series: made tables become plots, and what stands out in a plot comes back to its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from blemish.errors import InputError, MissingExtraError, OptionError
from blemish.modalities._plot import PANELS, Layout, decimated, limits
from blemish.modalities.recording import Recording
from blemish.modalities.time_series import SeriesOptions, open_series
from blemish.types import Image, Inspection, Sample, Verdict


def opened(path: Path, **options: Any) -> Recording:
    return open_series(path, SeriesOptions(**options), id="log", class_name="pump")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def table(path: Path, *columns: Any, titles: str = "t [s],level") -> Path:
    rows = "\n".join(",".join(str(cell) for cell in row) for row in zip(*columns, strict=True))
    return write(path, f"{titles}\n{rows}\n")


def views(path: Path, **options: Any) -> list[Image]:
    return [sample.image for sample in opened(path, **options).samples()]


def dark(image: Image) -> np.ndarray[Any, Any]:
    """Where the line is drawn: nothing else is blue."""
    return image[:, :, 2].astype(int) - image[:, :, 0] > 40


def differing(found: Recording, normal: Recording) -> Iterator[tuple[Sample, Inspection]]:
    """Judges a series by where the pixels of its plots differ from a normal one's."""
    for sample, good in zip(found.samples(), normal.samples(), strict=True):
        raw = (dark(sample.image) != dark(good.image)).astype(np.float32)
        verdict: Verdict = "anomalous" if raw.any() else "normal"
        score = 1.0 if raw.any() else 0.0
        yield sample, Inspection(sample.id, verdict, "calibration", score=score, maps=(raw,))


@pytest.mark.parametrize("window", [None, 250, 100])
def test_a_spike_comes_back_to_its_second(tmp_path: Path, window: int | None) -> None:
    seconds = np.arange(1000) / 10
    level = np.round(5 + np.sin(seconds), 4)
    spiked = level.copy()
    spiked[431] = 11
    normal = table(tmp_path / "normal.csv", seconds, level)
    broken = table(tmp_path / "broken.csv", seconds, spiked)
    options: dict[str, Any] = {"limits": {"level": (0, 12)}, "window": window}
    recording = opened(broken, **options)
    found = recording.back(differing(recording, opened(normal, **options))).inspection
    assert found.spans[0][0] == 0
    assert found.spans[-1][1] == pytest.approx(100)
    assert all(a[1] == b[0] for a, b in zip(found.spans, found.spans[1:], strict=False))
    high = [span for span in found.spans if span[2] > 0.5]
    # The line leaves the row before and is back at the row after; a pixel of it is wider.
    pixel = 0.1 * (window or 1000) / Layout(640, 1024, 1).columns
    assert high[0][0] == pytest.approx(43.0, abs=2 * pixel)
    assert high[-1][1] == pytest.approx(43.2, abs=2 * pixel)
    if window:
        assert found.explanation == "Found from 43.0 s to 43.2 s."


def test_the_map_of_a_plot_counts_inside_the_panels_only(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", range(10), range(10), range(10), titles="t,a,b")
    layout = Layout(640, 1024, 2)
    recording = opened(path)
    (sample,) = recording.samples()
    inside, outside = np.zeros((2, 640, 1024), np.float32)
    outside[:] = 1
    for top, bottom in layout.rows:
        outside[top:bottom, layout.left : layout.left + layout.columns] = 0
    (top, bottom) = layout.rows[1]
    quarter = layout.columns // 4
    inside[top, layout.left + quarter : layout.left + 2 * quarter] = 1
    for raw, expected in ((outside, [0.0]), (inside, [0.0, 0.8, 0.0])):
        judged = [(sample, Inspection("", "anomalous", "calibration", score=0.8, maps=(raw,)))]
        spans = recording.back(judged).inspection.spans
        assert [score for _, _, score in spans] == expected
    assert spans[1][:2] == pytest.approx(
        (10 * quarter / layout.columns, 20 * quarter / layout.columns)
    )


def test_where_windows_overlap_the_higher_score_counts(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", range(300), np.arange(300) % 7)
    recording = opened(path, window=100, overlap=0.5)
    scores = iter([0.2, 0.8, None, 0.1, 0.3])
    judged = (
        (s, Inspection(s.id, "anomalous", "calibration", score=next(scores)))
        for s in recording.samples()
    )
    spans = recording.back(judged).inspection.spans
    assert [score for _, _, score in spans] == [0.2, 0.8, 0.1, 0.3]
    edges = [start for start, _, _ in spans] + [spans[-1][1]]
    assert edges == pytest.approx([0, 50, 150, 200, 300])


def test_data_lie_exactly_where_the_layout_says(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", range(8), [0, 0, 0, 10, 0, 0, 0, 0])
    (image,) = views(path, limits={"level": (-1, 11)})
    layout = Layout(640, 1024, 1)
    ((top, bottom),) = layout.rows
    line = dark(image)
    assert not line[:, : layout.left].any()
    assert not line[:, layout.left + layout.columns + 1 :].any()
    peak = np.argwhere(line)[0]
    assert peak[0] == pytest.approx(bottom - (bottom - top) * 11 / 12, abs=2)
    assert peak[1] == pytest.approx(layout.left + layout.columns * 3 / 8, abs=2)
    # Time 7 is the last row, and lasts to 8, the right edge.
    assert np.argwhere(line.any(axis=0)).max() == pytest.approx(
        layout.left + layout.columns * 7 / 8, abs=2
    )


EXPECTED = [1.5, 2.25, -3.0, 0.125]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("t,level\n0,1.5\n1,2.25\n2,-3\n3,1.25e-1\n", "utf-8-sig"),
        ("t;level\n0;1,5\n1;2,25\n2;-3\n3;0,125\n", "cp1252"),
        ("t\tlevel\r\n0\t1.5\r\n1\t2.25\r\n2\t-3\r\n3\t.125\r\n", "utf-8"),
        ('"t","level"\n"0","1.5"\n"1","2.25"\n"2","-3"\n"3","0.125"\n', "utf-8"),
        ('"t","level"\n"0","1,5"\n"1","2,25"\n"2","-3"\n"3","0,125"\n', "utf-8"),
        ("t;level\n0;1,5\n1;2,25\n2;-3\n3;0,125\n", "utf-16"),
        ("\n\nt,level\n0, 1.5\n1, 2.25\n2, -3\n3, 0.125", "utf-8"),
        ("t,level,\n0,1.5,\n1,2.25,\n2,-3,\n3,0.125,\n", "utf-8"),
    ],
)
def test_dialects_of_csv_give_the_same_series(tmp_path: Path, text: str, encoding: str) -> None:
    recording: Any = opened(write(tmp_path / "a.csv", text, encoding))
    assert recording.about["time"] == "t"
    assert list(recording._series.channels) == ["level"]
    assert recording._series.channels["level"].tolist() == EXPECTED
    assert recording._series.times.tolist() == [0, 1, 2, 3]


def test_a_table_without_titles_or_time_is_counted_by_rows(tmp_path: Path) -> None:
    recording = opened(write(tmp_path / "a.csv", "1.5,7\n2.25,8\n-3,9\n0.125,10\n"))
    assert recording.about["channels"] == ["column 1", "column 2"]
    assert recording.about["time"] is None
    (sample,) = recording.samples()
    assert sample.id == "row 1 to row 4"
    assert (sample.domain, sample.class_name) == ("signal", "pump")
    judged = [(sample, Inspection("", "anomalous", "language model", score=0.9))]
    assert recording.back(judged).inspection.spans == ((1.0, 5.0, 0.9),)


def test_parquet_gives_its_columns(tmp_path: Path) -> None:
    stamps = pa.array([datetime(2024, 5, 3, 9) + timedelta(seconds=i) for i in range(4)])
    columns = {
        "when": stamps,
        "level": EXPECTED,
        "whole": pa.array([1, 2, None, 4]),
        "on": [True, False, True, True],
        "name": pa.array(["a", "b", "a", "a"]).dictionary_encode(),
        "list": [[1], [2], [3], [4]],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.csv")
    recording: Any = opened(tmp_path / "a.csv")
    assert recording._series.channels["level"].tolist() == EXPECTED
    assert recording.about["channels"] == ["level", "whole", "on"]
    assert list(recording.about["left_out"]) == ["name", "list"]
    assert recording.about["start"] == "2024-05-03T09:00:00"
    assert recording.about["empty_cells"] == {"whole": 1}
    broken = tmp_path / "b.parquet"
    broken.write_bytes((tmp_path / "a.csv").read_bytes()[:-30])
    with pytest.raises(InputError, match="cut short or damaged"):
        opened(broken)


@pytest.mark.parametrize(
    ("stamps", "start", "times"),
    [
        (
            ["2024-05-03T09:00:00+02:00", "2024-05-03T09:00:01.500+02:00"],
            "09:00:00+02:00",
            [0, 1.5],
        ),
        (["2024-03-31T01:59:59+01:00", "2024-03-31T03:00:00+02:00"], "01:59:59+01:00", [0, 1]),
        (["2024-05-03 09:00", "2024-05-03 10:00"], "09:00:00", [0, 3600]),
        (["2024-05-03T09:00:00Z", "2024-05-03T09:00:02Z"], "09:00:00+00:00", [0, 2]),
        (["20240503T090000+0200", "20240503T090003+0200"], "09:00:00+02:00", [0, 3]),
    ],
)
def test_clock_times_become_seconds_since_the_first_row(
    tmp_path: Path, stamps: list[str], start: str, times: list[float]
) -> None:
    recording: Any = opened(table(tmp_path / "a.csv", stamps, [1, 2], titles="when,level"))
    assert recording._series.times.tolist() == times
    assert recording.about["start"].split("T")[1] == start
    (sample,) = recording.samples()
    assert sample.id.startswith(start[:8])


def test_days_are_named_where_the_series_is_longer_than_one(tmp_path: Path) -> None:
    stamps = [(datetime(2024, 5, 3, 23) + timedelta(hours=i)).isoformat() for i in range(48)]
    recording = opened(table(tmp_path / "a.csv", stamps, range(48)), window=24)
    assert [sample.id for sample in recording.samples()] == [
        "2024-05-03 23:00:00 to 2024-05-04 22:00:00",
        "2024-05-04 23:00:00 to 2024-05-05 22:00:00",
    ]


def test_gaps_are_not_joined(tmp_path: Path) -> None:
    seconds = [*range(100), *range(200, 300)]
    level = [5.0] * 200
    holes: list[Any] = list(level)
    holes[30:50] = ["", "NaN", "n/a", "inf"] * 5
    (image,) = views(table(tmp_path / "a.csv", seconds, holes))
    layout = Layout(640, 1024, 1)
    drawn = dark(image)[:, layout.left :].any(axis=0)
    at = (np.flatnonzero(drawn) / layout.columns * 300).round(1)
    assert not ((at > 30) & (at < 49)).any()
    assert not ((at > 100) & (at < 199)).any()
    assert {10, 60, 250} <= set(at.astype(int))


def test_a_value_between_two_gaps_is_still_seen(tmp_path: Path) -> None:
    level = ["", 1, "", "", 5, "", 2, "", 1, 1]
    (image,) = views(table(tmp_path / "a.csv", range(10), level))
    columns = np.flatnonzero(dark(image).any(axis=0))
    assert (np.diff(columns) > 1).sum() == 3


def test_equal_values_are_a_line_in_the_middle(tmp_path: Path) -> None:
    for value in (0, -4, 1e9):
        (image,) = views(table(tmp_path / "a.csv", range(50), [value] * 50))
        rows = np.flatnonzero(dark(image).any(axis=1))
        ((top, bottom),) = Layout(640, 1024, 1).rows
        assert rows == pytest.approx(np.full(len(rows), (top + bottom) / 2), abs=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,a\n0,1\n1,2\n2,oops\n3,4\n", "column 'a' holds 'oops' in row 3"),
        ("t;a\n0;1,5\n1;2,5\n2;1.234,5\n", "holds '1.234,5' in row 3.*decimal comma"),
        ("t,a\n0,1\n,2\n", "time in column 't' is empty in row 2"),
        ("t,a\n2024-01-01,1\n2024-01-02T00:00:00Z,2\n", "'2024-01-02T00:00:00Z'.*row 2"),
        ("t,a\n2024-01-01,1\nyesterday,2\n2024-01-03,3\n", "'yesterday'.*row 2"),
        ("t,a\n0,1\n", "1 row besides the titles"),
        ("t,a\n", "0 rows besides the titles"),
        ("", "is empty"),
        ("\ufeff\n", "is empty"),
        ("t,a\n1,x\n2,y\n", "no column that holds numbers"),
        ("t,a\n1,2\n3\n4,5,6\n", "same number of cells"),
        ("t,a\n5,2\n5,3\n5,4\n", "gives every row the same time"),
        ("\0\1\2\0\0", "is no table"),
    ],
)
def test_tables_that_cannot_be_used_say_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        opened(write(tmp_path / "a.csv", text))


def test_columns_without_numbers_are_left_out_unless_they_are_asked_for(tmp_path: Path) -> None:
    text = "t,state,a,note,none\n0,ok,1,x,\n1,ok,2,7,\n2,bad,3,y,\n"
    path = write(tmp_path / "a.csv", text)
    assert opened(path).about["channels"] == ["a"]
    assert opened(path).about["left_out"] == {
        "state": "no numbers (text)",
        "note": "no numbers (text)",
        "none": "empty",
    }
    with pytest.raises(InputError, match="'state' holds 'ok' in row 1"):
        opened(path, channels=("a", "state"))
    with pytest.raises(OptionError, match=r"no column 'stat'\. Did you mean 'state'"):
        opened(path, channels=("stat",))
    with pytest.raises(InputError, match="time 'ok' in column 'state', row 1"):
        opened(path, time="state")
    with pytest.raises(OptionError, match="no column 'tim'"):
        opened(path, time="tim")
    with pytest.raises(OptionError, match="Limits are given for 'b'"):
        opened(path, limits={"b": (0, 1)})


def test_rows_out_of_order_are_sorted_and_repeated_times_kept(tmp_path: Path) -> None:
    recording: Any = opened(table(tmp_path / "a.csv", [3, 1, 2, 2, 0], [30, 10, 20, 21, 0]))
    assert recording._series.times.tolist() == [0, 1, 2, 2, 3]
    assert recording._series.channels["level"].tolist() == [0, 10, 20, 21, 30]
    assert recording.about["rows_were_in_order"] is False
    assert recording.about["repeated_times"] == 1
    assert len(list(recording.samples())) == 1
    stamps = [f"2024-01-01T00:00:0{i}" for i in (2, 0, 1)]
    clock: Any = opened(table(tmp_path / "b.csv", stamps, [2, 0, 1]))
    assert clock.about["start"] == "2024-01-01T00:00:00"
    assert clock._series.times.tolist() == [0, 1, 2]


def test_windows_of_one_repeated_time_are_drawn_and_carried_back(tmp_path: Path) -> None:
    recording = opened(table(tmp_path / "a.csv", [0, 1, 1, 1, 1, 1, 1, 2], range(8)), window=2)
    judged = [(s, Inspection("", "normal", "calibration", score=0.1)) for s in recording.samples()]
    assert len({sample.id for sample, _ in judged}) == 4
    spans = recording.back(judged).inspection.spans
    assert spans[0][0] == 0
    assert spans[-1][1] == pytest.approx(3)


def test_200_channels_are_split_over_plots_of_a_few_panels(tmp_path: Path) -> None:
    columns = [np.full(5, i) for i in range(200)]
    titles = ",".join(["t", *(f"c{i}" for i in range(200))])
    recording: Any = opened(table(tmp_path / "a.csv", range(5), *columns, titles=titles))
    assert recording.about["plots"] == -(-200 // PANELS)
    first, second = islice(recording.samples(), 2)
    assert (first.id, second.id) == ("0 to 4, c0 to c5", "0 to 4, c6 to c11")
    judged = [
        (
            Sample(first.image, id=name),
            Inspection("", "anomalous", "calibration", score=0.9 if i == 20 else 0.1),
        )
        for i, name in enumerate(recording._plots)
    ]
    assert recording.back(judged).inspection.spans == ((0.0, 5.0, 0.9),)


def test_a_million_rows_are_quick_and_a_spike_of_one_row_stays(tmp_path: Path) -> None:
    count = 1_000_000
    level = np.sin(np.arange(count) / 5000)
    level[654_321] = 9
    pq.write_table(pa.table({"level": level}), tmp_path / "a.parquet")
    start = time.process_time()
    (image,) = views(tmp_path / "a.parquet", window=count)
    assert time.process_time() - start < 5
    ((top, _),) = Layout(640, 1024, 1).rows
    spike = np.flatnonzero(dark(image)[top : top + 200].any(axis=0))
    layout = Layout(640, 1024, 1)
    assert (spike - layout.left) / layout.columns == pytest.approx(0.654321, abs=2e-3)
    assert len(views(tmp_path / "a.parquet", window=500_000)) == 2


def test_decimation_keeps_each_columns_extremes_and_its_gaps() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    values[4000:5000] = np.nan
    place = np.arange(10_000) / 100
    x, y = decimated(place, values, np.zeros(9_999, bool), 100)
    for column in (0, 17, 99):
        mine = values[column * 100 : column * 100 + 100]
        drawn = y[x == column + 0.5]
        assert (drawn.min(), drawn.max()) == (mine.min(), mine.max())
        assert (drawn[0], drawn[-1]) == (mine[0], mine[-1])
    assert np.isnan(y).sum() == 1
    assert x[np.flatnonzero(np.isnan(y))[0] + 1] == 50.5


def test_a_bare_plot_has_lines_only_and_the_same_place_for_them(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv", range(100), np.sin(np.arange(100)))
    (drawn,), (bare,) = views(path), views(path, bare=True)
    # The grid shines through the line's faint edges.
    assert (dark(drawn) != dark(bare)).sum() < 0.02 * dark(bare).sum()
    ((top, _),) = Layout(640, 1024, 1).rows
    assert (bare[:top] == 255).all()
    assert not (drawn[:top] == 255).all()


def test_windows_share_their_scale_and_do_not_leave_marks_on_each_other(tmp_path: Path) -> None:
    level = [*([0.0] * 50), *([10.0] * 50)]
    path = table(tmp_path / "a.csv", range(100), level)
    first, second = views(path, window=50)
    rows = [np.flatnonzero(dark(image).any(axis=1)).mean() for image in (first, second)]
    assert rows[0] - rows[1] > 400
    assert (views(path, window=50)[1] == second).all()


def test_odd_titles_are_drawn_as_they_stand(tmp_path: Path) -> None:
    text = "t,a$x^2$ \\frac,温度,a,a,\n0,1,2,3,4,\n1,2,3,4,5,\n"
    recording = opened(write(tmp_path / "a.csv", text))
    assert recording.about["channels"] == ["a$x^2$ \\frac", "温度", "a", "a (2)"]
    assert len(list(recording.samples())) == 1


def test_limits_leave_air_and_never_vanish() -> None:
    assert limits(np.array([0.0, 10.0])) == (-0.5, 10.5)
    assert limits(np.array([np.nan, 3.0])) == (2.5, 3.5)
    assert limits(np.array([np.nan])) == (-1.0, 1.0)


@pytest.mark.parametrize(("module", "late"), [("pyarrow", False), ("matplotlib.figure", True)])
def test_a_missing_library_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, late: bool
) -> None:
    path = table(tmp_path / "a.csv", range(5), range(5))
    monkeypatch.setitem(sys.modules, module, None)
    act: Callable[[], Any] = (lambda: views(path)) if late else (lambda: opened(path))
    with pytest.raises(MissingExtraError, match=r'pip install "blemish\[timeseries\]"'):
        act()


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a file"):
        opened(tmp_path / "nowhere.csv")


@pytest.mark.parametrize(
    "options", [{"window": 1}, {"overlap": 1.0}, {"channels": ()}, {"width": 10}, {"rows": 5}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SeriesOptions(**options)
