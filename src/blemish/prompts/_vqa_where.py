"""Where something is, in words: regions by number, places by the nine words, images by order."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache

from blemish.places import POSITIONS
from blemish.prompts import answers
from blemish.prompts._vqa_words import data

_COUNT = r"\d{1,3}(?![.,]?\d|\s?%|\s?[mck]?m\b)"
_NOUN = (
    r"(?:regions?|areas?|zones?|sections?|segments?|marks?|markers?|labels?|patch(?:es)?|spots?)"
)
_NAMED = r"(?:labell?ed|marked|numbered|tagged|annotated|indicated|designated|outlined|highlighted)"
_MORE = rf"(?:\s?(?:,|and|&|or|to|through|-|–|,\s?and)\s?(?:{_NOUN}\s|\#|number\s)?\#?{_COUNT})*"
_MARK = re.compile(
    rf"\b(?:{_NOUN}\s?:?\s?(?:(?:is |are |that is |which is )?{_NAMED}\s)?|{_NAMED}\s)"
    rf"(?:(?:with|as|by|no\.|(?:the )?numbers?|nr\.|#|region|area)\s?){{0,4}}\#?"
    rf"(?P<numbers>{_COUNT}{_MORE})",
)
_BARE = re.compile(rf"(?:\b(?:numbers?|no\.|nos\.|nr\.)\s?|\#\s?)(?P<numbers>{_COUNT}{_MORE})")
_NOT_MARKS = re.compile(r"\b(?:rules?|images?|pictures?|figures?|photos?|steps?)\s$")
_ORDER = {"first": 1, "1st": 1, "one": 1, "second": 2, "2nd": 2, "two": 2, "third": 3, "fourth": 4}

CARDINALS = tuple(data()["numbers"]["cardinals"])
_ORDINALS = tuple(data()["numbers"]["ordinals"])

_ROW = r"top|upper(?:most)?|bottom|lower(?:most)?"
_COLUMN = r"left(?:most)?|right(?:most)?"
_MIDDLE = r"cent(?:re|er)|central|middle"
_JOINED = (
    r"(?: (?:part|zone|area|section|portion|region|corner|side|half|row|edge|end|rim|column))?"
    r" (?:on|to|of|at|in) the "
)
_PLACE = re.compile(
    rf"\b(?:(?P<row>{_ROW})|(?P<column>{_COLUMN})|(?P<middle>{_MIDDLE}))"
    rf"(?:(?:[- ]|{_JOINED})(?:(?P<row2>{_ROW})|(?P<column2>{_COLUMN})|(?P<middle2>{_MIDDLE})))?\b"
)
_ROW_WORDS = {"top": "top", "upper": "top", "bottom": "bottom", "lower": "bottom"}
_BEFORE_SIDE = re.compile(
    r"(?:\b(?:the|to|on|upper|lower|top|bottom|left|far|from|and|or|its|towards?|middle|at|in|near)"
    r"[- ]|[,(]\s?|^)$"
)
_AFTER_SIDE = re.compile(
    r"[- ](?:hand|side|edge|corner|half|part|third|of|border|end|wall|arm|leg|most|lens|wing|area)"
)
_NO_PLACE_AFTER = re.compile(
    r" (?:angles?|number|amount|size|order|place|kind|type|way|direction|colou?r|behind|out|over"
    r"|than|view|answer|tail|quality|row of|notch|layer)\b"
)
_ORGAN = f"(?:{'|'.join(data()['organs'])})"
_OF_ORGAN = re.compile(
    rf"(?:[- ](?:upper|middle|lower))?(?: (?:part|portion|half|side|third|zone)s? of the"
    rf"(?: (?:left|right|upper|lower))*)? {_ORGAN}\b"
    r"(?! (?:field|side|half|of the (?:image|picture)))"
)


_NUMBER = re.compile(rf"\d|\b(?:{'|'.join(CARDINALS + _ORDINALS)})\b", re.IGNORECASE)


def regions(text: str, marked: bool) -> tuple[int, ...]:
    """The numbers of regions that a text names, in order, each once.

    Args:
        text: of a sentence or a part of one, in any case.
        marked: whether numbers were drawn, so that "number 3" and "#3" mean one of them.

    Raises:
        answers.Unreadable: a range runs backwards.

    >>> regions("Regions 3-5 and the area labeled as 7; rule 2, 3 mm", True)
    (3, 4, 5, 7)
    """
    if not _NUMBER.search(text):
        return ()
    text = _in_digits(re.sub(r"['\"‘’“”](\d{1,3})['\"‘’“”]", r"\1", text.lower()))
    found: list[int] = []
    spans = list(_MARK.finditer(text))
    if marked:
        spans += [bare for bare in _BARE.finditer(text)]
    for named in sorted(spans, key=re.Match.start):
        if not _NOT_MARKS.search(text, max(0, named.start() - 12), named.start()):
            found += answers.numbers(named["numbers"], [])
    return tuple(dict.fromkeys(found))


def _in_digits(text: str) -> str:
    """As digits: "the third region" as "region 3", "regions one and two" as "regions 1 and 2"."""
    ordinal = rf"\b({'|'.join(_ORDINALS)}) (?:marked |numbered |labell?ed )?({_NOUN})(?! \d)"
    text = re.sub(ordinal, lambda m: f"{m[2]} {_ORDINALS.index(m[1]) + 1}", text)
    word = f"(?:{'|'.join(CARDINALS)})"
    named = rf"\b{_NOUN} {word}\b(?:(?:,| and|, and| to| or) {word}\b)*"

    def digits(found: re.Match[str]) -> str:
        return re.sub(rf"\b{word}\b", lambda m: str(CARDINALS.index(m[0]) + 1), found[0])

    return re.sub(named, digits, text)


def places(text: str) -> tuple[str, ...]:
    """The words of blemish.places.POSITIONS that a text names, in its order, each once.

    Sides of an organ are the patient's, not the picture's, and are left out.

    >>> places("in the upper left-hand corner and near the centre, at a right angle")
    ('top left', 'centre')
    """
    text = text.lower()
    found = []
    for place in _PLACE.finditer(text):
        if _is_place(text, place):
            found.append(_position(place))
    return tuple(dict.fromkeys(found))


def _is_place(text: str, place: re.Match[str]) -> bool:
    after = text[place.end() : place.end() + 60]
    if _OF_ORGAN.match(after) or _NO_PLACE_AFTER.match(after):
        return False
    if place[0] in ("upper", "lower") and not re.match(r"[- ](?!and\b|or\b|but\b)\w", after):
        return False
    alone = place["row2"] is place["column2"] is place["middle2"] is None
    before = text[max(0, place.start() - 12) : place.start()]
    if place["column"] and alone:
        return bool(_BEFORE_SIDE.search(before) or _AFTER_SIDE.match(after))
    return not (place["row"] == "top" and alone and re.search(r"\bon $", before))


def _position(place: re.Match[str]) -> str:
    row = place["row"] or place["row2"] or ""
    column = place["column"] or place["column2"] or ""
    parts = _ROW_WORDS.get(row.removesuffix("most"), ""), column.removesuffix("most")
    return " ".join(filter(None, parts)) or POSITIONS[4]


def images(text: str, number: int, judged: Collection[int]) -> tuple[frozenset[int], bool]:
    """The images that a text is about, and whether it names any, be it to compare with.

    Args:
        text: of a clause.
        number: of images that were shown; with one, none is looked for.
        judged: those among them that the question is about, counted from 1.

    >>> images("Unlike the first image, the second one has a crack", 2, (2,))
    (frozenset({2}), True)
    """
    if number < 2:
        return frozenset(), False
    text, topics, named = text.lower(), set[int](), False
    for image in _image().finditer(text):
        named = True
        about = _which(image, number, judged)
        before = text[max(0, image.start() - 24) : image.start()].rstrip()
        before = re.sub(r"\s(?:the|a|an|this|that)$", "", f" {before}")
        if image.start() and _comparing().search(before) and not _starts(text, image):
            continue
        topics |= about
    return frozenset(topics), named


def _starts(text: str, image: re.Match[str]) -> bool:
    """Whether an image is named at the very beginning: "In the first image, ..."."""
    lead = text[: image.start()].strip(" ,(-–—")
    return (
        re.fullmatch(r"(?:and |while |whereas )?(?:in|on|as for|for|regarding)(?: the)?", lead)
        is not None
    )


def _which(image: re.Match[str], number: int, judged: Collection[int]) -> set[int]:
    if image["all"]:
        return set(range(1, number + 1))
    if image["digit"]:
        return {int(image["digit"])}
    if image["letter"]:
        return {"ab".index(image["letter"]) + 1}
    if image["order"] or image["word"]:
        return {_ORDER[image["order"] or image["word"]]}
    others = set(range(1, number + 1)) - set(judged)
    return set(judged) if image["judged"] or image["test"] else others or set(judged)


@cache
def _image() -> re.Pattern[str]:
    topics = data()["topics"]
    noun = f"(?:{'|'.join(topics['images'])})"
    other, judged = "|".join(topics["other"]), "|".join(topics["judged"])
    return re.compile(
        rf"\b(?:(?P<all>both|all|each|the two|either)(?: of)?(?: the| these)? {noun}s?"
        rf"|{noun}\s?#?(?P<digit>\d)\b|{noun} (?P<letter>b\b|a(?= ?[,:(]| (?:is|has|shows)\b))"
        r"|(?P<order>first|second|third|fourth|1st|2nd)"
        rf"(?: {noun}\b|(?= (?:is|has|shows|does|was)\b)|(?=[,:]))"
        rf"|{noun} (?P<word>one|two)\b"
        rf"|(?P<other>{other}) (?:{noun}|bottle|part|product|object|item)\b"
        r"|(?P<bare>(?<=the )(?:reference|template|golden sample|master))\b"
        rf"|(?P<judged>{judged}) {noun}\b|(?P<test>(?<=the )(?:test|query|inspected) \w+))"
    )


@cache
def _comparing() -> re.Pattern[str]:
    return re.compile(rf"\s(?:{'|'.join(data()['topics']['compared'])})$")


def score(text: str, repaired: list[str]) -> float | None:
    """The anomaly score that a text states, or None.

    >>> score("I would give an anomaly score of 8/10.", [])
    0.8
    """
    stated = re.search(
        r"\b(?:(?:anomaly |abnormality |defect |overall |image )?score"
        r"|(?:probability|likelihood|chance) (?:of|for|that there is)"
        r" (?:an? )?(?:defects?|anomaly|anomalies))\b"
        r"(?: (?:is|of|for|the|image|this|would|be|at|about|around|part|anomaly))*\s?[:=]?\s*",
        text.lower(),
    )
    if not stated:
        return None
    rest = text[stated.end() : stated.end() + 40]
    share = re.match(r"(\d{1,3}(?:\.\d+)?)\s*(?:/|out of)\s*(\d{1,3})\b", rest)
    if share and int(share[2]) > 0 and float(share[1]) <= int(share[2]):
        repaired.append(f"share: {share[0]}")
        return float(share[1]) / int(share[2])
    try:
        return answers.score(rest, repaired)[0]
    except answers.Unreadable:
        return None
