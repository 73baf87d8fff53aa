"""`blemish inspect`: what it prints, writes and returns when all is well."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Blemish = Callable[..., Any]


def test_parts_against_good_ones(blemish: Blemish, ten: Path, good: Path) -> None:
    said = blemish("inspect", "parts", "--normal", "good", "--out", "run")
    assert (said.code, said.err) == (0, "")
    lines = [line.split() for line in said.out.splitlines()]
    assert lines[0] == ["file", "verdict", "score", "where"]
    assert lines[4][:2] == ["3.png", "anomalous"]
    assert lines[4][3:] == ["top", "left"]
    assert lines[5][:2] == ["4.png", "normal"]
    assert "10 pictures: 8 normal, 2 anomalous" in said.out
    assert said.out.splitlines()[-1] == "Report: run/report.html"
    record = json.loads(Path("run/run.json").read_bytes())
    assert record["command"] == "blemish inspect parts --normal good --out run"
    assert record["detector"]["name"] == "anomalygpt"


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        (("sigma=2",), "anomalygpt"),
        (("encoder=efficientnet-lite0",), "patch-memory"),
        (("encoder=clip-vit-h-14", "adapter=own"), "anomalygpt"),
    ],
)
def test_another_encoder_without_an_adapter_for_it_is_patch_memorys(
    blemish: Blemish, ten: Path, good: Path, options: tuple[str, ...], chosen: str
) -> None:
    """The stub has none of these options, and its answer names the detector."""
    words = [word for option in options for word in ("--option", option)]
    said = blemish("inspect", "parts", "--normal", "good", *words)
    assert said.code == 2
    assert f"{chosen} has no option '{options[0].partition('=')[0]}'" in said.err


def test_a_folder_without_references_is_compared_with_itself(blemish: Blemish, ten: Path) -> None:
    (ten / "bad.png").write_bytes(b"")
    said = blemish("inspect", "parts", "--out", "run")
    assert said.code == 3
    record = json.loads(Path("run/run.json").read_bytes())
    assert record["detector"]["name"] == "musc"
    assert "'9.png'" in record["detector"]["fingerprint"]
    assert "bad.png" not in record["detector"]["fingerprint"]


def test_json_prints_the_rows_and_nothing_else(blemish: Blemish, ten: Path, good: Path) -> None:
    said = blemish("inspect", "parts/*.png", "--normal", "good", "--out", "run", "--json")
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["id"] for row in rows] == [f"{i}.png" for i in range(10)]
    written = Path("run/inspections.jsonl").read_text().splitlines()
    assert sorted(written) == sorted(said.out.splitlines())
    assert said.err == ""


@pytest.mark.parametrize(
    ("source", "options", "code"),
    [
        ("parts", [], 0),
        ("parts", ["--exit-code"], 1),
        ("parts/1.png", ["--exit-code"], 0),
        ("mixed", [], 3),
        ("mixed", ["--exit-code"], 1),
        ("mixed/bad.png", [], 2),
    ],
)
def test_exit_codes(
    blemish: Blemish, ten: Path, source: str, options: list[str], code: int
) -> None:
    shutil.copytree(ten, "mixed")
    Path("mixed/bad.png").write_bytes(b"no picture")
    said = blemish("inspect", source, "--detector", "darkness", *options)
    assert said.code == code
    assert ("bad.png is no picture" in said.err) == ("mixed" in source)


def test_repeating_a_command_goes_on(blemish: Blemish, stub: ModuleType, ten: Path) -> None:
    command = ("inspect", "parts", "--detector", "darkness")
    first = blemish(*command)
    stub.draw(ten / "new.png")
    second = blemish(*command)
    assert first.out.splitlines()[-1] == second.out.splitlines()[-1]
    assert "10 from an earlier start" in second.out
    assert blemish("inspect", "parts/1.png", "--detector", "darkness").code == 0
    assert len(list(Path("blemish_out").iterdir())) == 2


def test_repeating_it_with_another_target_moves_the_operating_point(
    blemish: Blemish, ten: Path
) -> None:
    command = ("inspect", "parts", "--detector", "darkness", "--maps")
    assert "2 anomalous" in blemish(*command).out
    stricter = blemish(*command, "--false-alarms", "0.0005")
    assert "1 anomalous" in stricter.out
    assert "10 from an earlier start" in stricter.out


def test_a_stopped_run_says_how_to_go_on(
    blemish: Blemish, stub: ModuleType, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = stub.Darkness._inspect

    def stop(self: Any, sample: Any) -> Any:
        if sample.id == "9.png":
            raise KeyboardInterrupt
        return plain(self, sample)

    command = ("inspect", "parts", "--detector", "darkness", "--out", "run")
    with monkeypatch.context() as stopped:
        stopped.setattr(stub.Darkness, "_inspect", stop)
        said = blemish(*command)
    assert said.code == 130
    assert "of 10 pictures are done and kept in run; the same command goes on" in said.err
    assert "8 from an earlier start" in blemish(*command).out


def test_many_pictures_print_only_the_most_anomalous(
    blemish: Blemish, stub: ModuleType, tmp_path: Path
) -> None:
    stub.draw_parts(tmp_path / "many", 45)
    said = blemish("inspect", "many", "--detector", "darkness")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["3.png", "7.png"]
    assert "and 25 with lower scores" in said.out
    assert len(lines) == 1 + 20 + 1 + 2


def test_options_reach_the_detector(blemish: Blemish, ten: Path) -> None:
    said = blemish(
        "inspect", "parts", "--detector", "darkness", "--out", "run", "--option", "pause=0.001"
    )
    assert said.code == 0
    record = json.loads(Path("run/run.json").read_bytes())
    assert record["detector"]["options"] == {"pause": 0.001}


def test_false_alarms_are_refused_where_nothing_is_calibrated(
    blemish: Blemish, ten: Path, asked: list[Any]
) -> None:
    Path("said.json").write_text("[]")
    answer = blemish("inspect", "parts", "--llm", "scripted:said.json", "--false-alarms", "0.1")
    assert answer.code == 2
    assert "gpt4v-ad has no calibration that --false-alarms could move" in answer.err
    assert asked == []
