"""What a question in a dialogue about inspected parts is about; decided by rule."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from blemish.prompts import vqa_answer
from blemish.prompts.contrast import called


@dataclass(frozen=True)
class Asked:
    """What a question is about.

    Attributes:
        about: one of `anomalygpt.TOPICS`, "general" or "foreign".
        language: of a foreign question, as a person calls it.
        turned: it asks whether the part is good: there "yes" denies every anomaly.
    """

    about: str
    language: str = ""
    turned: bool = False


def about(question: str, class_name: str = "object") -> Asked:
    """What a question is about; see the top of `dialogue`.

    Args:
        question: of a person.
        class_name: of the part.

    >>> [about(q).about for q in ("Where is it?", "What caused it?", "What is a burr?")]
    ['place', 'beyond', 'general']
    >>> about("Wo ist der Fehler?")
    Asked(about='foreign', language='German', turned=False)
    """
    said = " ".join(question.lower().replace("’", "'").split())
    if tongue := language(said):
        return Asked("foreign", tongue)
    words, name = data(), called(class_name).casefold()
    for polite in words["polite"]:
        said = " ".join(re.sub(polite, " ", said).split())
    bare = said.strip(" .,!?")
    if any(re.fullmatch(one, bare) for one in words["small talk"]):
        return Asked("general")
    alone = any(_pattern(one, name).fullmatch(bare) for one in words["alone"])
    if not alone and not any(_pattern(one, name).search(said) for one in words["refers"]):
        known = any(re.match(one, said) for one in words["general"])
        return Asked("general" if known else "beyond")
    for topic, patterns in words["topics"].items():
        if any(_pattern(one, name).search(said) for one in patterns):
            turned = topic == "presence" and bool(
                _pattern(words["asks for good"], name).match(said)
            )
            return Asked("beyond" if topic == "object" and name == "object" else topic, "", turned)
    return Asked("beyond")


def language(text: str) -> str:
    """The language of a text that is not English, as a person calls it; else "".

    By its script, or by the small words that it uses: those of the language that has most of them,
    where English has fewer.

    >>> language("Combien de défauts y a-t-il ?"), language("How many defects are there?")
    ('French', '')
    """
    words, letters = data(), [letter for letter in text if letter.isalpha()]
    for script, tongue in words["scripts"]:
        of_script = [a for a in letters if unicodedata.name(a, "").lower().startswith(script)]
        if 3 * len(of_script) > len(letters):
            return str(tongue)
    found = re.findall(r"[^\W\d_]+", text.lower())
    count = {t: sum(w in some for w in found) for t, some in words["languages"].items()}
    best = max(count, key=lambda tongue: count[tongue])
    if count[best] > sum(word in words["english"] for word in found):
        return str(best)
    return str(words["another language"]) if vqa_answer.foreign(text) else ""


@cache
def _pattern(text: str, name: str) -> re.Pattern[str]:
    anomaly = data()["anomaly"] + r"\b"
    return re.compile(text.replace("{anomaly}", anomaly).replace("{class}", re.escape(name)))


@cache
def data() -> dict[str, Any]:
    """dialogue.json."""
    return dict(json.loads(files("blemish.prompts").joinpath("dialogue.json").read_text("utf-8")))
