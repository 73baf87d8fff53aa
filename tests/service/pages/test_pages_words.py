"""All words of the pages stand in one file, and each of them is shown somewhere."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import blemish.service

ROOM = Path(blemish.service.__file__).parent
LOOKED_UP = {"verdict", "state", "decided", "reason", "says", "detector"}
"""Texts by a name that only the station knows while it runs."""


def test_every_text_is_used_and_every_used_one_is_there() -> None:
    texts = json.loads((ROOM / "texts.json").read_text("utf-8"))
    there = {f"{page}.{name}" for page, of in texts.items() for name in of}
    templates = "".join(p.read_text("utf-8") for p in (ROOM / "templates").iterdir())
    python = [*(ROOM / "pages").glob("*.py"), ROOM / "api" / "sign_in.py"]
    code = "".join(p.read_text("utf-8") for p in python)
    scripts = "".join(p.read_text("utf-8") for p in (ROOM / "static").glob("*.js"))
    used = set(re.findall(r"\bt\.(\w+\.\w+)", templates))
    used |= {f"script.{name}" for name in re.findall(r"\btexts\.(\w+)", scripts)}
    used = {one for one in used if one.partition(".")[0] not in LOOKED_UP}
    for one in there:
        page, name = one.split(".")
        by_name = re.search(rf'"{re.escape(name)}"', templates + code) is not None
        if page in LOOKED_UP or by_name:
            used.add(one)
    assert used - there == set()
    assert there - used == set()


@pytest.mark.parametrize(
    "template", sorted((ROOM / "templates").iterdir()), ids=lambda path: str(path.stem)
)
def test_no_template_has_words_of_its_own(template: Path) -> None:
    # An address in <code> is no word, nor is the class that a page gives its content.
    plain = re.sub(r"<code>.*?</code>|(block width %\})\w+", r"\1", template.read_text("utf-8"))
    text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", plain, flags=re.S)
    spoken = re.findall(r'(?:alt|title|placeholder|aria-label|label)="([^"]*)"', text)
    between = re.sub(r"<[^>]*>", " ", text)
    assert re.findall(r"[^\W\d_]{2,}", " ".join([between, *spoken])) == []
