"""What GPT-4V-AD (arXiv 2311.02612) asks about a picture with numbered regions, and the answer.

The wordings are data (gpt4v_ad.json); the document's own are kept word for word, since they are a
parameter of the method. `parse` reads what comes back by these rules:

| what came                                            | how it is read                            |
|------------------------------------------------------|-------------------------------------------|
| `region 1: 0.9; region 3: 0.7.`                      | the format asked for                      |
| Markdown, a list, a table with a column each         | as without it                             |
| JSON: `regions` as list or object, `region N` as key | scores; as a fence, a string in a string, |
|                                                      | with trailing commas: as without it       |
| other languages, full-width signs, `0,9`, `90 %`     | read; the last two are noted as repaired  |
| `regions 3-5: 0.8`, `regions 3 and 4: 0.8`           | each of them, noted as repaired           |
| a region twice with the same score                   | once                                      |
| prose beside regions that score above 0              | left out, if every region and every       |
|                                                      | decimal number in it belongs to a score   |
| "no anomalies", "none of the regions ...",           | the answer for a normal part, if nothing  |
| `{"regions": []}` (all forms: answers.json)          | else is said                              |
| an image score without any region, or scores of 0    | an answer, if nothing else is said        |
| sentences of the question                            | taken out                                 |
| the example of the question, as it stands there      | unparsed                                  |
| a region that does not exist; one with two scores    | unparsed                                  |
| a score outside 0 to 1, in words, as a range or ratio| unparsed                                  |
| regions named and declared normal at once            | unparsed                                  |
| cut off by the token limit; empty; anything else     | unparsed                                  |
| a refusal, by its words or as the endpoint says      | refused                                   |
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from blemish.errors import OptionError, nearest
from blemish.prompts._reading import Found, read_json, read_text
from blemish.prompts.answers import (
    Problem,
    Unreadable,
    loosely,
    object_schema,
    refuses,
    says_nothing,
    sentences,
    spoken,
    without_echo,
)
from blemish.prompts.markdown import plain

Asks = Literal["regions", "image and regions", "boxes"]
"""What a wording asks for: scores of regions, of the image as well, or boxes without a score."""


@dataclass(frozen=True)
class Answer:
    """What a reply says.

    Attributes:
        scores: region number to score in [0, 1]; empty where no region is anomalous.
        image_score: as written, in [0, 1]; None where none is.
        problem: why there is no answer: "refused" or "unparsed"; empty where there is one.
        words: what was wrong with it, for a person.
        repaired: what was read leniently.
        boxes: region number to (x, y, width, height) as shares of the longer side, where boxes
            were asked for; x and y are the centre.
    """

    scores: Mapping[int, float] = field(default_factory=dict)
    image_score: float | None = None
    problem: Problem = ""
    words: str = ""
    repaired: tuple[str, ...] = ()
    boxes: Mapping[int, tuple[float, float, float, float]] = field(default_factory=dict)


@cache
def data() -> Mapping[str, Any]:
    """The file of wordings: "version", "wordings" and "additions"."""
    return dict(json.loads(files("blemish.prompts").joinpath("gpt4v_ad.json").read_text("utf-8")))


def wording(name: str, asks: Asks = "regions") -> Mapping[str, str]:
    """One wording: its "text", "example" and "source". Raises OptionError for an unknown one."""
    known = data()["wordings"]
    if name not in known:
        raise OptionError(f"There is no prompt called '{name}'. {nearest(name, known)}")
    if asks not in known[name]:
        has = [n for n in known if asks in known[n]]
        raise OptionError(f"The prompt '{name}' does not ask for {asks}. {nearest(name, has)}")
    return dict(known[name][asks])


def question(
    class_name: str,
    name: str = "document",
    asks: Asks = "regions",
    *,
    normals: int = 0,
    anomalous: Sequence[str] = (),
    heat: bool = False,
    standards: str = "",
) -> str:
    """The text that goes with the pictures, in this order: normal, anomalous, to judge, heat map.

    Args:
        class_name: what the part is called. "a" or "an" goes before it by its first letter
            (an: a, e, i, o), where a wording has an article.
        name: of the wording.
        asks: what for.
        normals: how many pictures of normal parts come first.
        anomalous: one entry for each anomalous picture: where its anomaly lies, "" if unknown.
        heat: a heat map comes last.
        standards: what a normal part looks like, in words.

    >>> question("metal_nut", "json")[:33]
    'This is an image of a metal nut. '
    """
    part = " ".join(class_name.replace("_", " ").split()) or "object"
    names = {"name": part, "a_name": f"{'an' if part[0].lower() in 'aeio' else 'a'} {part}"}
    says = data()["additions"]
    said = []
    if normals:
        which = "Image 1" if normals == 1 else f"Images 1 to {normals}"
        show = "shows" if normals == 1 else "each show"
        said.append(says["normals"].format(which=which, show=show, **names))
    for number, places in enumerate(anomalous, normals + 1):
        text = says["anomalous at" if places else "anomalous"]
        said.append(text.format(which=f"Image {number}", places=places, **names))
    judged = normals + len(anomalous) + 1
    if heat:
        said.append(says["heat"].format(which=f"Image {judged + 1}"))
    if standards:
        said.append(says["standards"].format(standards=" ".join(standards.split()), **names))
    if judged > 1 or heat:
        said.append(says["judge"].format(which=f"Image {judged}"))
    asked = wording(name, asks)
    return " ".join([*said, asked["text"].format(example=asked["example"], **names)])


def schema(asks: Asks) -> dict[str, Any]:
    """JSON schema of the answer to the wording "json"."""
    score = {"type": "number", "minimum": 0, "maximum": 1}
    region = object_schema({"number": {"type": "integer", "minimum": 1}, "score": score})
    regions = {"type": "array", "items": region}
    if asks == "image and regions":
        return object_schema({"image_score": score, "regions": regions})
    return object_schema({"regions": regions})


def parse(text: str, regions: Collection[int], *, ended: str = "stop", asked: str = "") -> Answer:
    """Read the reply to a question about regions, by the rules above.

    Args:
        text: the reply.
        regions: the numbers that exist.
        ended: `Reply.ended`: "stop", "length" or "refused".
        asked: the question, whose echo is taken out.

    >>> parse("region 2: 0.8", range(1, 9)).scores
    {2: 0.8}
    >>> parse("No anomalies.", range(1, 9))
    Answer(scores={}, image_score=None, problem='', words='', repaired=(), boxes={})
    >>> parse("region 2: high", range(1, 9)).words
    "'high' stands where a score should be"
    """
    found = Found()
    try:
        begun = own_words(text, ended, asked)
        rest = read_text(plain(read_json(begun, found)), found)
        return settled(found, rest, regions)
    except Unreadable as cause:
        return Answer(problem=cause.problem, words=str(cause))


def own_words(text: str, ended: str, asked: str) -> str:
    """What the model said itself. Raises Unreadable where that is not a whole answer."""
    if ended == "refused":
        raise Unreadable("the model or its filter declined to answer", "refused")
    text = spoken(text)
    if ended == "length":
        raise Unreadable("the reply was cut off by the limit of tokens (max_tokens)")
    text = without_echo(text, asked)
    for quoted in _quoted_examples():
        text = quoted.sub(" ", text)
    bare = plain(text)
    if any(example in bare for example in _examples()):
        raise Unreadable("the reply repeats the example of the question")
    if not text.strip():
        raise Unreadable("the reply only repeats the question")
    return text


@cache
def _examples() -> tuple[str, ...]:
    """The examples of all wordings, longest first."""
    texts = {w["example"] for asks in data()["wordings"].values() for w in asks.values()}
    return tuple(sorted(texts - {""}, key=len, reverse=True))


@cache
def _quoted_examples() -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile(rf"[\"“„«'`]{loosely(example).pattern}[\"”“»'`]\.?", re.IGNORECASE)
        for example in _examples()
    )


@cache
def _example_scores() -> tuple[dict[int, float], ...]:
    found = [Found() for _ in _examples()]
    for example, one in zip(_examples(), found, strict=True):
        if example.count(",") == 0:
            read_text(example, one)
    return tuple(dict(one.scores) for one in found if one.scores)


def settled(found: Found, rest: str, regions: Collection[int]) -> Answer:
    """The answer that the scores and the text around them give, if they give one."""
    scores: dict[int, float] = {}
    for number, value in found.scores:
        if number not in regions:
            raise Unreadable(f"there is no region {number}")
        if scores.setdefault(number, value) != value:
            raise Unreadable(f"region {number} has the scores {scores[number]} and {value}")
    if scores in _example_scores():
        raise Unreadable("the reply repeats the example of the question")
    if len(set(found.image)) > 1:
        raise Unreadable(f"the image has the scores {sorted(set(found.image))}")
    image = found.image[0] if found.image else None
    said = sentences(rest)
    declared = [s for s in said if says_nothing(s)]
    if (declared or found.empty) and any(scores.values()):
        raise Unreadable("the reply names regions and says that there are none")
    if declared and image is not None and image >= 0.5:
        raise Unreadable(f"the reply says that nothing is anomalous and scores the image {image}")
    if not any(scores.values()):
        silent = not scores and image is None and not declared and not found.empty
        if silent or len(declared) < len(said):
            if refuses(rest):
                raise Unreadable("the model declined to answer", "refused")
            raise Unreadable(
                "the reply scores no region above 0 and does not say that nothing is anomalous"
                if scores
                else "the reply names no region and does not say that there is none"
            )
    elif missing := sorted(found.mentioned - set(scores)):
        raise Unreadable(f"region {missing[0]} is named without a score")
    elif stray := re.search(r"[0-9] ?[.,] ?[0-9]|[0-9] ?%|[0-9] ?[:=|] ?\.?[0-9]", rest):
        raise Unreadable(f"the number '{stray[0]}' belongs to no region")
    return Answer(scores, image, repaired=tuple(dict.fromkeys(found.repaired)))
