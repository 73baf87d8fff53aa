"""`blemish annotate`: drafts of what was found, for a person to correct in a labelling tool."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import PIL.Image
import pytest

from blemish.report import exports

Blemish = Callable[..., Any]
GRID = ("--llm", "scripted:said.json", "--option", "regions=grid", "--option", "cells=4")
"""Sixteen regions of a 40 x 60 picture, 10 x 15 pixels each, numbered row by row."""


def say(reply: str) -> None:
    Path("said.json").write_text(json.dumps({"": reply}))


def mask_of(name: str) -> Any:
    with PIL.Image.open(f"run/masks/{name}") as picture:
        assert picture.mode == "L"
        return np.asarray(picture)


def test_what_a_language_model_says_becomes_drafts(
    blemish: Blemish, stub: ModuleType, asked: list[Any]
) -> None:
    stub.draw(Path("parts/line 3/1.png"))
    say("region 6: 0.9.")
    command = ("annotate", "parts", "--out", "run", "--class", "cloth", *GRID)
    said = blemish(*command)
    assert (said.code, said.err) == (0, "")
    cell = np.zeros((40, 60))
    cell[10:20, 15:30] = 255
    np.testing.assert_array_equal(mask_of("line 3/1.png"), cell)
    coco = json.loads(Path("run/coco.json").read_bytes())
    assert [image["file_name"] for image in coco["images"]] == ["line 3/1.png"]
    assert [entry["bbox"] for entry in coco["annotations"]] == [[15, 10, 15, 10]]
    (task,) = json.loads(Path("run/label_studio.json").read_bytes())
    assert task["data"]["image"] == "/data/local-files/?d=parts/line%203/1.png"
    (shape,) = task["predictions"][0]["result"]
    assert sorted(shape["value"]["points"]) == [[25, 25], [25, 50], [50, 25], [50, 50]]
    assert task["predictions"][0]["model_version"].startswith("gpt4v-ad-")
    assert Path("run/label_studio.xml").read_text() == exports.LABEL_CONFIG
    assert "1 picture: 1 with drafts\n" in said.out
    assert f"LOCAL_FILES_DOCUMENT_ROOT={Path.cwd()}," in said.out

    written = Path("run/coco.json").read_bytes()
    again = blemish(*command)
    assert len(asked) == 1
    assert "1 with drafts; 1 from an earlier start" in again.out
    assert Path("run/coco.json").read_bytes() == written


def test_an_unsure_picture_keeps_its_places(
    blemish: Blemish, stub: ModuleType, asked: list[Any]
) -> None:
    stub.draw(Path("parts/1.png"))
    say("region 6: 0.5.")
    assert "1 with drafts" in blemish("annotate", "parts", "--out", "run", *GRID).out
    assert mask_of("1.png").sum() == 255 * 10 * 15
    (task,) = json.loads(Path("run/label_studio.json").read_bytes())
    assert task["data"]["verdict"] == "unsure"


def test_parts_against_good_ones(blemish: Blemish, ten: Path, good: Path) -> None:
    said = blemish("annotate", "parts", "--normal", "good", "--out", "run")
    assert said.code == 0
    assert "10 pictures: 2 with drafts, 8 without" in said.out
    spot = np.zeros((40, 60))
    spot[2:12, 4:14] = 255
    np.testing.assert_array_equal(mask_of("3.png"), spot)
    empty = mask_of("4.png")
    assert empty.shape == (40, 60)
    assert not empty.any()
    tasks = json.loads(Path("run/label_studio.json").read_bytes())
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        0,
        0,
    ]


def test_a_mask_is_as_large_as_a_viewer_shows_the_picture(
    blemish: Blemish, stub: ModuleType, tmp_path: Path
) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # shown turned by a quarter
    (tmp_path / "parts").mkdir()
    PIL.Image.fromarray(stub.picture()).save(tmp_path / "parts" / "1.jpg", exif=exif)
    assert blemish("annotate", "parts", "--detector", "darkness", "--out", "run").code == 0
    assert mask_of("1.png").shape == (60, 40)


def test_a_picture_that_fails_is_named_and_gets_no_mask(blemish: Blemish, ten: Path) -> None:
    command = ("annotate", "parts", "--detector", "darkness", "--out", "run")
    assert blemish(*command).code == 0
    (ten / "3.png").write_bytes(b"no picture")
    said = blemish(*command)
    assert said.code == 3
    assert "3.png is no picture" in said.err
    assert "10 pictures: 1 with drafts, 8 without, 1 failed; 9 from" in said.out
    assert sorted(path.name for path in Path("run/masks").iterdir()) == [
        f"{i}.png" for i in range(10) if i != 3
    ]
    coco = json.loads(Path("run/coco.json").read_bytes())
    assert "3.png" not in [image["file_name"] for image in coco["images"]]
    alone = blemish("annotate", "parts/3.png", "--detector", "darkness", "--out", "alone")
    assert alone.code == 2


@pytest.mark.parametrize("root", ["https://pictures.test/line", "https://pictures.test/line/"])
def test_pictures_may_be_served_from_elsewhere(blemish: Blemish, ten: Path, root: str) -> None:
    said = blemish(
        "annotate", "parts", "--detector", "darkness", "--out", "run", "--image-root", root
    )
    task = json.loads(Path("run/label_studio.json").read_bytes())[4]
    assert task["data"]["image"] == "https://pictures.test/line/4.png"
    assert "DOCUMENT_ROOT" not in said.out


def test_a_folder_whose_name_is_not_utf_8_is_served_by_its_bytes(
    blemish: Blemish, stub: ModuleType
) -> None:
    stub.draw(Path(os.fsdecode(b"p\xff/1.png")))
    said = blemish("annotate", os.fsdecode(b"p\xff"), "--detector", "darkness", "--out", "run")
    assert said.code == 0
    (task,) = json.loads(Path("run/label_studio.json").read_bytes())
    assert task["data"]["image"] == "/data/local-files/?d=p%FF/1.png"


def test_inspect_goes_on_where_annotate_was(blemish: Blemish, ten: Path) -> None:
    blemish("annotate", "parts", "--detector", "darkness", "--out", "run")
    said = blemish("inspect", "parts", "--detector", "darkness", "--out", "run")
    assert "10 from an earlier start" in said.out


def test_it_may_be_stopped_while_it_inspects_and_while_it_writes(
    blemish: Blemish, stub: ModuleType, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*given: Any) -> Any:
        raise KeyboardInterrupt

    command = ("annotate", "parts", "--detector", "darkness", "--out", "run")
    for owner, name, words in (
        (stub.Darkness, "_inspect", "0 of 10 pictures are done"),
        (exports, "mask", "the same command writes them"),
    ):
        with monkeypatch.context() as stopped:
            stopped.setattr(owner, name, stop)
            said = blemish(*command)
        assert said.code == 130
        assert words in said.err
        assert not Path("run/coco.json").exists()
    assert "10 from an earlier start" in blemish(*command).out


def test_drafts_that_cannot_be_written_are_an_error_in_words(blemish: Blemish, ten: Path) -> None:
    Path("run").mkdir()
    Path("run/masks").write_text("a file")
    said = blemish("annotate", "parts", "--detector", "darkness", "--out", "run")
    assert said.code == 2
    assert "run cannot be written" in said.err


def test_the_folder_is_asked_for_and_the_exit_codes_are_told(blemish: Blemish, ten: Path) -> None:
    missing = blemish("annotate", "parts", "--detector", "darkness")
    assert missing.code == 2
    assert "--out" in missing.err
    assert "130 stopped" in " ".join(blemish("annotate", "--help").out.split())
