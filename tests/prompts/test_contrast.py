"""The ensembles are the printed ones; the project's own template is grammatical."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from importlib.resources import files
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blemish.prompts.contrast import Prompts, alfa, anovl, called, clip_ac, digest, winclip

ARTICLES = ("a", "the")
ADJECTIVES = ("cropped", "close-up", "bright", "dark", "jpeg corrupted", "blurry")
TEMPLATES = {
    *(
        f"a {adjective} photo of {article} [c]"
        for adjective, article in product(ADJECTIVES, ARTICLES)
    ),
    *(
        f"a photo of {article}{size} [c]"
        for article, size in product(ARTICLES, ("", " small", " large"))
    ),
    *(
        f"a photo of {article} [c] for {purpose}"
        for article, purpose in product(ARTICLES, ("visual inspection", "anomaly detection"))
    ),
}
"""Table 5 of arXiv 2308.15366, level b, by its pattern."""
WITHOUT = tuple(f"[o] without {what}" for what in ("flaw", "defect", "damage"))
WITH = tuple(f"[o] with {what}" for what in ("flaw", "defect", "damage"))
ENSEMBLES = [clip_ac, winclip, anovl, alfa]
DOMAINS = {
    "bottle": ("industrial photo", "industrial image", "manufacturing image"),
    "stone_tile": ("industrial photo", "textural photo", "surface picture"),
}


def filled(templates: set[str], states: tuple[str, ...], name: str) -> set[str]:
    return {
        template.replace("[c]", state.replace("[o]", name))
        for template, state in product(templates, states)
    }


def test_winclip_is_the_printed_table() -> None:
    templates = {f"{template}." for template in TEMPLATES}
    assert len(templates) == 22
    found = winclip("metal_nut")
    normal = ("[o]", "flawless [o]", "perfect [o]", "unblemished [o]", *WITHOUT)
    assert set(found.normal) == filled(templates, normal, "metal nut")
    assert set(found.abnormal) == filled(
        templates, ("damaged [o]", "broken [o]", *WITH), "metal nut"
    )
    assert (len(found.normal), len(found.abnormal)) == (154, 110)


@pytest.mark.parametrize("name", DOMAINS)
def test_anovl_is_three_domains_of_the_same_templates(name: str) -> None:
    templates = set()
    for domain, template in product(DOMAINS[name], TEMPLATES):
        text = template.replace("photo", domain)
        templates.add(re.sub("^a (?=[aeiou])", "an ", text))
    assert len(templates) == 66
    found, spoken = anovl(name), name.replace("_", " ")
    normal = ("normal [o]", "flawless [o]", "perfect [o]", "unblemished [o]", *WITHOUT)
    abnormal = ("damaged [o]", "abnormal [o]", "imperfect [o]", "blemished [o]", *WITH)
    assert set(found.normal) == filled(templates, normal, spoken)
    assert set(found.abnormal) == filled(templates, abnormal, spoken)
    assert (len(found.normal), len(found.abnormal)) == (462, 462)


@pytest.mark.parametrize(
    "name", ["carpet", "metal grid", "leather", "tile", "wood", "magnetic tile", "magnetic-tile"]
)
@pytest.mark.parametrize("written", [str, str.upper])
def test_textures_have_domains_of_their_own(name: str, written: Callable[[str], str]) -> None:
    said = " ".join(anovl(written(name)).normal)
    assert "textural photo" in said
    assert "manufacturing" not in said


def test_clip_ac_is_the_printed_pair() -> None:
    assert clip_ac("pill") == Prompts(
        ("a photo of a normal pill",), ("a photo of an abnormal pill",)
    )


@pytest.mark.parametrize("name", ["bottle", "apple", "wood", "capsules", "", "metal_nut"])
def test_the_template_has_72_grammatical_prompts_a_side(name: str) -> None:
    found = alfa(name)
    for side in (found.normal, found.abnormal):
        assert len(set(side)) == 72
        for text in side:
            form = rf"An? [a-z -]+ image of (?:an? )?[a-z]+ {called(name)}(?: with [a-z ]+)?"
            assert re.fullmatch(form, text), text
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]|  ", text), text
    assert not {*found.normal} & {*found.abnormal}


def test_what_is_not_counted_has_no_article() -> None:
    assert "An industrial image of damaged wood" in alfa("wood").abnormal
    assert "An industrial image of a damaged bottle" in alfa("bottle").abnormal


@pytest.mark.parametrize(
    "name", ["hinges", "left_hinges", "candles", "CANDLES", "pieces of chewing gum", "Wood"]
)
def test_what_is_a_plural_already_has_no_article(name: str) -> None:
    found = alfa(name)
    assert f"An industrial image of abnormal {called(name)}" in found.abnormal
    assert not any(re.search(r"image of an? ", text) for text in found.normal + found.abnormal)


def test_the_digest_is_that_of_all_words() -> None:
    words = [files("blemish.prompts") / "contrast.json", files("blemish") / "classes.json"]
    assert digest() == hashlib.sha256(b"".join(file.read_bytes() for file in words)).hexdigest()


@pytest.mark.parametrize("make", ENSEMBLES)
@pytest.mark.parametrize(("name", "spoken"), [("", "object"), ("  left__hinge ", "left hinge")])
def test_a_class_is_spoken_of_without_underscores(
    make: Callable[[str], Prompts], name: str, spoken: str
) -> None:
    assert make(name) == make(spoken)
    assert all(spoken in text for text in (*make(name).normal, *make(name).abnormal))


@given(st.text(max_size=30), st.sampled_from(ENSEMBLES))
def test_any_name_gives_distinct_prompts(name: str, make: Callable[[str], Prompts]) -> None:
    found = make(name)
    assert len({*found.normal, *found.abnormal}) == len(found.normal) + len(found.abnormal)
    assert all(called(name) in text for text in (*found.normal, *found.abnormal))
