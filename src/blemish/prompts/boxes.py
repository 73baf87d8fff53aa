"""The answer to the document's first attempt: boxes in the picture as it is (figure 2).

The question asks for scores and shows a format without any: a box that is named counts with the
score 1. Boxes are read where four shares from 0 to 1 (or four percentages) of the longer side
stand behind a region, with a width and height above 0 and the centre inside the picture; what
lies beyond its edge is cut off, and noted. Everything else is read as in `gpt4v_ad.parse`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from blemish.prompts._reading import Found, between, region_head
from blemish.prompts.answers import Unreadable
from blemish.prompts.gpt4v_ad import Answer, own_words, settled, wording
from blemish.prompts.markdown import plain

Box = tuple[float, float, float, float]
_SHARE = r"((?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+) ?%?)"
_FOUR = re.compile(
    rf"[(\[]?\s*{_SHARE},\s*{_SHARE},\s*{_SHARE},\s*{_SHARE}[)\]]?(?![.,]? ?[0-9]|\w)"
)
_HIGHEST = 1000  # the numbers only tell boxes apart


def parse(text: str, height: int, width: int, *, ended: str = "stop", asked: str = "") -> Answer:
    """Read the reply to the question for boxes.

    Args:
        text: the reply.
        height: of the picture that was shown, in pixels.
        width: of that picture, in pixels.
        ended: `Reply.ended`.
        asked: the question, whose echo is taken out.

    >>> parse("region 1: 0.5, 0.4, 0.2, 0.1.", 80, 100).boxes
    {1: (0.5, 0.4, 0.2, 0.1)}
    """
    found = Found()
    try:
        boxes, rest = _boxes(plain(own_words(text, ended, asked)), height, width, found)
        if boxes and boxes == _example():
            raise Unreadable("the reply repeats the example of the question")
        answer = settled(found, rest, range(1, _HIGHEST + 1))
        return replace(answer, boxes=boxes)
    except Unreadable as cause:
        return Answer(problem=cause.problem, words=str(cause))


def _boxes(text: str, height: int, width: int, found: Found) -> tuple[dict[int, Box], str]:
    boxes: dict[int, Box] = {}
    kept, start = [], 0
    for named in region_head().finditer(text):
        separator = between().match(text, named.end())
        if separator is None or not named["numbers"].isdigit():
            continue
        shares = _FOUR.match(text, separator.end())
        if not shares:
            some = " ".join(text[separator.end() : separator.end() + 30].split())
            raise Unreadable(f"'{some}' stands where a box should be")
        number = int(named["numbers"])
        box = _box(shares.groups(), height, width, found)
        if boxes.setdefault(number, box) != box:
            raise Unreadable(f"region {number} has two boxes")
        found.scores.append((number, 1.0))
        kept.append(text[start : named.start()])
        start = shares.end()
    return boxes, "\n".join([*kept, text[start:]])


def _box(shares: tuple[str, ...], height: int, width: int, found: Found) -> Box:
    percent = [share.endswith("%") for share in shares]
    x, y, w, h = (float(s.rstrip("% ")) / (100 if all(percent) else 1) for s in shares)
    long = max(height, width)
    right, bottom = width / long, height / long
    if any(percent) != all(percent) or not (0 <= x <= right and 0 <= y <= bottom):
        raise Unreadable(f"the box {', '.join(shares)} lies outside the picture")
    if not (0 < w <= 1 and 0 < h <= 1):
        raise Unreadable(f"the box {', '.join(shares)} is empty or larger than the picture")
    if x - w / 2 < 0 or y - h / 2 < 0 or x + w / 2 > right or y + h / 2 > bottom:
        found.repaired.append(f"box beyond the edge: {', '.join(shares)}")
    return x, y, w, h


def _example() -> dict[int, Box]:
    example = wording("document", "boxes")["example"]
    return _boxes(example, 1, 1, Found())[0]
