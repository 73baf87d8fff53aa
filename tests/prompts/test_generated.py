"""Prompts are asked for in the document's words, kept, and edited; the bank that ships is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.errors import ChatError, InputError, OutputError
from blemish.llms.scripted import Scripted
from blemish.prompts import generated
from blemish.prompts.generated import Generated, bank, edited, generate, kept, read, write
from blemish.types import Message, Reply

IT = "An abnormal image of bottle"
BANK = sorted(p.name for p in files("blemish.prompts").joinpath("bank").iterdir() if p.is_file())
OUT = Generated("cup", "alfa", ("a whole rim",), ("a chipped rim",), ("a chip",), "me", "f")

WORDS = st.sampled_from(
    [
        *("An abnormal image of bottle", "A normal image of", "Sure! Here are", "crack", "I can't"),
        *(
            "\n",
            "- ",
            "1. ",
            "**",
            "|",
            "|---|---|\n",
            "# ",
            ":",
            ". ",
            "{",
            "[",
            '"',
            "，",
            "瓶",
            "```",
        ),
        *("<think>", "</think>", "\ud800", "\x00", "normal", "look for ", "(", ", ", "\t"),
    ]
)


@given(
    st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=25).map("".join),
    st.sampled_from(["stop", "length", "refused"]),
    st.booleans(),
)
def test_any_reply_gives_good_prompts_or_the_own_error(
    text: str, ended: Any, consistent: bool
) -> None:
    try:
        made = generate(
            "bottle", Scripted(lambda _: Reply(text, ended=ended)), consistent=consistent
        )
    except ChatError:
        return
    for side, beginning in ((made.normal, "A normal image of"), (made.abnormal, IT[:20])):
        assert side
        assert all(0 < len(prompt.split()) <= 40 for prompt in side)
        if consistent:
            assert all(prompt.startswith(beginning) for prompt in side)
    everything = [prompt.casefold() for prompt in (*made.normal, *made.abnormal)]
    assert len(set(everything)) == len(everything)


def model(**said: str | Sequence[str]) -> Scripted:
    """Says these replies about the normal and the abnormal side and the descriptors, in turn."""
    told = {
        "normal": f"- {IT.replace('An ab', 'A ')} with a rim",
        "abnormal": f"- {IT} with a chip",
    }
    told |= {"descriptors": "a chip\n- a crack"}
    left = {k: [v] if isinstance(v, str) else list(v) for k, v in {**told, **said}.items()}

    def reply(messages: Sequence[Message]) -> str:
        asked = messages[-1].text
        kind = "descriptors" if "useful descriptions" in asked else "abnormal"
        replies = left["normal" if "identify a normal" in asked else kind]
        return replies.pop(0) if len(replies) > 1 else replies[0]

    return Scripted(reply, name="made-up")


def test_the_questions_are_the_printed_ones() -> None:
    asking = model()
    made = generate("metal_nut", asking)
    asked = [messages[-1].text for messages in asking.asked]
    assert len(asked) == 3
    assert asked[0].startswith(
        "How to identify an abnormal metal nut in an image? State the description beginning with: "
        "An abnormal image of metal nut."
    )
    assert asked[1].startswith("How to identify a normal metal nut in an image? State the ")
    assert asked[2] == (
        "Q: What are useful descriptions for distinguishing an anomaly metal nut in a photo?\n\n"
        "A: There are several key descriptions to tell there is an anomaly metal nut in a photo:"
        "\n\n-"
    )
    assert [query.asked for query in made.queries] == asked
    assert (made.class_name, made.made_by, made.consistent) == ("metal nut", "made-up", True)
    assert made.descriptors == ("a chip", "a crack")
    plain = model()
    generate("metal_nut", plain, consistent=False)
    assert "beginning with" not in plain.asked[0][-1].text


def test_an_empty_side_is_asked_again_twice_at_most() -> None:
    asking = model(abnormal=["", "I cannot help with that.", f"- {IT} with dirt"])
    made = generate("bottle", asking)
    assert made.abnormal == (f"{IT} with dirt",)
    assert len(asking.asked) == 5
    assert len({messages[-1].text for messages in asking.asked}) == 4
    asking = model(normal="I'm sorry, but I can't help with that.")
    with pytest.raises(
        ChatError, match=r"made-up gave .* normal .*refused.*I'm sorry, but"
    ) as told:
        generate("bottle", asking)
    assert len(asking.asked) == 4
    assert "by hand" in str(told.value)


def test_descriptors_may_stay_empty() -> None:
    asking = model(descriptors="")
    assert generate("bottle", asking).descriptors == ()
    assert len(asking.asked) == 5


def test_what_is_said_of_both_sides_tells_nothing() -> None:
    said = "- a bottle on a table\n- "
    asking = model(normal=f"{said}a whole rim", abnormal=f"{said}a chipped rim")
    made = generate("bottle", asking, consistent=False)
    assert (made.normal, made.abnormal) == (("a whole rim",), ("a chipped rim",))
    with pytest.raises(ChatError, match="both answers say the same"):
        generate("bottle", model(normal=said, abnormal=said), consistent=False)


def test_prompts_are_made_once_and_read_from_then_on(tmp_path: Path) -> None:
    asking = model()
    made = kept("metal_nut", asking, folder=tmp_path)
    assert kept("metal nut", asking, folder=tmp_path) == made
    assert len(asking.asked) == 3
    other = kept("metal nut", asking, consistent=False, folder=tmp_path)
    assert not other.consistent
    assert kept("left hinge", asking, folder=tmp_path).class_name == "left hinge"
    assert len(list(tmp_path.iterdir())) == 3
    (path,) = tmp_path.glob("left_hinge-*")
    assert read(path).class_name == "left hinge"


@pytest.mark.parametrize("names", [("a/b", "a b"), ("é" * 90, "é" * 91), ("../x", "x"), ("?", "!")])
def test_any_class_has_a_file_of_its_own(names: tuple[str, str], tmp_path: Path) -> None:
    paths = [generated.kept_at(name, "f", folder=tmp_path) for name in names]
    assert paths[0] != paths[1]
    for path in paths:
        assert path.parent == tmp_path
        write(OUT, path)


def test_an_edit_shows_and_only_that_of_the_same_model(tmp_path: Path) -> None:
    asking = model()
    kept("bottle", asking, folder=tmp_path)
    kept("cup", model(abnormal=f"- {IT} with dirt"), folder=tmp_path)
    assert edited(tmp_path, asking.fingerprint) == []
    (path,) = tmp_path.glob("bottle-*")
    path.write_text(path.read_text("utf-8").replace("with a chip", "with a dent"), "utf-8")
    assert edited(tmp_path, asking.fingerprint) == [generated.digest(read(path))]
    assert kept("bottle", asking, folder=tmp_path).abnormal == (f"{IT} with a dent",)
    assert edited(tmp_path, "another") == edited(tmp_path / "none", asking.fingerprint) == []


def test_prompts_that_replace_others_count_as_changed(tmp_path: Path) -> None:
    asking = model()
    made = kept("bottle", asking, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert not generated.is_edited(path)
    write(replace(made, abnormal=(f"{IT} with dirt",)), path)
    assert generated.is_edited(path)
    assert edited(tmp_path, asking.fingerprint) == [generated.digest(read(path))]
    assert read(path).author == "made-up"


def test_what_another_run_kept_meanwhile_stays(tmp_path: Path) -> None:
    quick, slow = model(), model(abnormal=f"- {IT} with dirt")
    plain, slow.fingerprint = slow.chat, quick.fingerprint

    def chat(*given: Any, **more: Any) -> Reply:
        kept("bottle", quick, folder=tmp_path)
        return plain(*given, **more)

    slow.chat = chat  # type: ignore[method-assign]
    assert kept("bottle", slow, folder=tmp_path).abnormal == (f"{IT} with a chip",)
    assert edited(tmp_path, quick.fingerprint) == []


def test_the_author_is_the_model_the_hand_or_both(tmp_path: Path) -> None:
    path = tmp_path / "cup.json"
    write(OUT, path)
    assert (read(path).edited, read(path).author) == (False, "me")
    body = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(body | {"descriptors": ["a dent"]}), "utf-8")
    assert (read(path).edited, read(path).author) == (True, "me, edited by hand")
    write(read(path), tmp_path / "copy.json")
    assert generated.is_edited(tmp_path / "copy.json")
    needed = {name: body[name] for name in ("version", "class", "style", "normal", "abnormal")}
    path.write_text(json.dumps(needed), "utf-8")
    assert (read(path).edited, read(path).author) == (False, "by hand")


def test_a_file_holds_everything_and_is_read_back(tmp_path: Path) -> None:
    made = replace(OUT, queries=(generated.Query("q?", "ä\n- ü"),), consistent=False)
    made = replace(made, names=("mug", "beaker"))
    write(made, tmp_path / "new" / "cup.json")
    assert read(tmp_path / "new" / "cup.json") == made
    body = json.loads((tmp_path / "new" / "cup.json").read_text("utf-8"))
    assert re.fullmatch("[0-9a-f]{64}", body["sha256"])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cup.json"]
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/cup\.json"):
        write(made, tmp_path / "file" / "cup.json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version: Input should be 1"),
        ({"class": " "}, "class: "),
        ({"style": "other"}, "style: Input should be 'alfa' or 'apg'"),
        ({"abnormal": []}, "abnormal: "),
        ({"normal": []}, "normal: expected a sentence at least"),
        ({"abnormal": ["x", 3]}, "abnormal.1: "),
        ({"abnornal": ["x"]}, "abnornal: "),
        ({"normal": ["a chipped  RIM"]}, "'a chipped rim' stands on both sides"),
        ({"normal": ["x", "X"]}, "'x' stands there twice"),
        ({"queries": [{"asked": "x"}]}, "queries.0.reply: "),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(
    change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "cup.json"
    write(OUT, path)
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | change), "utf-8")
    with pytest.raises(InputError) as caught:
        read(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, None])
def test_a_file_that_is_no_json_is_named(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "cup.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"cup\.json"):
        read(path)


@pytest.mark.parametrize("name", BANK)
def test_the_bank_is_whole(name: str) -> None:
    path = files("blemish.prompts").joinpath("bank", name)
    body = json.loads(path.read_text("utf-8"))
    made = read(Path(str(path)))
    assert (body["made_by"], body["queries"]) == ("written for this project", [])
    assert body["class"] in body["names"]
    assert "sha256" not in body
    assert made.names == tuple(body["names"])
    for spoken in body["names"]:
        assert bank(spoken.upper(), made.style) == made
        for mark in "_-":
            assert bank(spoken.replace(" ", mark), made.style) == made
    for side, beginning in ((made.normal, "A normal image of "), (made.abnormal, IT[:21])):
        for prompt in side:
            assert len(prompt.split()) <= 40, prompt
            assert prompt.startswith(beginning) or not made.consistent, prompt
    assert made.descriptors


def test_a_class_that_is_not_in_the_bank_has_no_prompts() -> None:
    assert bank("left hinge") is None
    assert bank("juice bottle", "apg") is None
    assert bank("solar cells") is None
    for name in ("solar cell", "solar_cells"):
        assert "Did you mean 'polycrystalline solar cell'?" in generated.unknown(name)
    assert "'left-hinge'" in generated.unknown("left-hinge")
    assert "Known: bag of screws, bottle," in generated.unknown("left-hinge")
    assert len(generated.banked()) == len([name for name in BANK if name.endswith(".json")])
