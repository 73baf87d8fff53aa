"""What is there, held against what has to be there: "there are four where six are required"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from blemish.prompts import _vqa_where as where
from blemish.prompts._vqa_clauses import SIGNS, subject_follows
from blemish.prompts._vqa_words import Unit, data, words

_SPLITS = frozenset({"turn", "because", "except"})
_ENDS_NOUN = frozenset({"verb", "should", "not", "hedge", "present", "turn", "cause"})


@dataclass(frozen=True)
class Amount:
    """A number of things: "four almonds"; `of` is empty where they are not named."""

    number: int
    of: frozenset[str]


@dataclass
class Part:
    """Some units of a sentence that say what has to be, or what is.

    Attributes:
        units: what it consists of.
        asked: it says what has to be.
        other: it speaks of an image that is not judged.
    """

    units: list[Unit] = field(default_factory=list)
    asked: bool = False
    other: bool = False


def differs(here: Sequence[Part], before: Sequence[Part]) -> bool | None:
    """Whether something is otherwise than it has to be; None if nothing can be compared.

    Args:
        here: the parts of a sentence.
        before: the parts of the sentence before it.
    """
    if any(unit.kind in ("hedge", "unknown", "whether") for part in here for unit in part.units):
        return None
    is_ = [part for part in here if not part.asked and not part.other]
    should = [part for part in here if part.asked or part.other]
    should = should or [part for part in before if part.asked or part.other]
    if not is_ or not should:
        return None
    found = [amount for part in is_ for amount in _amounts(part.units)]
    wanted = [amount for part in should for amount in _amounts(part.units)]
    if any(part.asked for part in should) and _few(unit for part in is_ for unit in part.units):
        return True
    unlike = _unlike(found, wanted)
    if unlike or _other_kind(is_, should):
        return True
    met = unlike is False or _repeats(is_, should)
    return False if met and any(part.asked for part in should) else None


def parts(units: Sequence[Unit], text: str, images: int, judged: Sequence[int]) -> list[Part]:
    """The parts of a sentence; one without a verb goes on with the one before."""
    found = [Part()]
    for at, unit in enumerate(units):
        denied = unit.kind == "not" and at + 1 < len(units) and _number(units[at + 1])
        begins = unit.text == "where" or (unit.text == "and" and subject_follows(units, at + 1))
        if unit.kind in _SPLITS or unit.text in SIGNS or begins or denied:
            found.append(Part())
        found[-1].units.append(unit)
    found = [part for part in found if part.units]
    for at, part in enumerate(found):
        kinds = {unit.kind for unit in part.units}
        denied = part.units[0].kind == "not" and not kinds & {"verb"}
        asks = any(unit.text in words("asking") for unit in part.units)
        part.asked = "should" in kinds or denied or asks
        span = text[part.units[0].start : part.units[-1].end]
        named, _ = where.images(span, images, judged)
        part.other = bool(named) and not named & set(judged)
        if at and not kinds & {"verb", "should", "few", "present"} and not named and not denied:
            part.asked, part.other = found[at - 1].asked, found[at - 1].other
    return found


def _few(units: Iterator[Unit]) -> bool:
    """Whether something is there only in part: "I see only one"."""
    known = list(units)
    only = any(unit.text == "only" for unit in known)
    return any(unit.kind == "few" for unit in known) or (only and any(map(_number, known)))


def _unlike(found: Sequence[Amount], wanted: Sequence[Amount]) -> bool | None:
    """Whether a number is another than is wanted; None if they are not all named."""
    equal = 0
    for want in wanted:
        like = [amount.number for amount in found if amount.of & want.of]
        like = like or [amount.number for amount in found if not (amount.of and want.of)]
        if like and want.number not in (*like, sum(like)):
            return True
        equal += bool(like)
    return False if wanted and equal == len(wanted) else None


def _amounts(units: Sequence[Unit]) -> Iterator[Amount]:
    for at, unit in enumerate(units):
        number = _number(unit)
        before = units[at - 1] if at else Unit("", "", 0, 0)
        after = units[at + 1].text if at + 1 < len(units) else ""
        if not number or before.text in words("numbered") or after in words("measures"):
            continue
        of = set()
        for word in units[at + 1 : at + 4]:
            if word.kind in _ENDS_NOUN or word.text in SIGNS | words("joining"):
                break
            of.add(_stem(word.text))
        frames = before.kind in ("verb", "should", "few") or unit.kind == "few"
        if of or number > 1 or frames:
            yield Amount(number, frozenset(of))


def _number(unit: Unit) -> int:
    """The number that a unit ends in; 0 for none."""
    last = unit.text.split()[-1]
    if last in where.CARDINALS:
        return where.CARDINALS.index(last) + 1
    return int(last) if last.isdecimal() and len(last) < 4 else 0


def _other_kind(is_: Sequence[Part], should: Sequence[Part]) -> bool:
    """Whether one thing is there in place of another: red for blue, open for closed."""
    found, wanted = ({w for part in p for w in _content(part.units)} for p in (is_, should))
    pairs = ((found & set(kinds), wanted & set(kinds)) for kinds in data()["alternatives"])
    return any(here and there and not here & there for here, there in pairs)


def _repeats(is_: Sequence[Part], should: Sequence[Part]) -> bool:
    """Whether what is said to be is in the words of what has to be: "they are red"."""
    if any(unit.kind == "not" for part in (*is_, *should) for unit in part.units):
        return False
    wanted = [word for part in should for word in _content(part.units)]
    found = {word for part in is_ for word in _content(part.units)}
    named = {unit.text for part in is_ for unit in part.units} & words("pronouns")
    missing = set(wanted) - found
    known = found and found <= set(wanted) and wanted[-1] in found
    return bool(known and (not missing or (named and wanted[0] in missing)))


def _content(units: Sequence[Unit]) -> list[str]:
    """The words that name something, shortened."""
    empty = words("joining") | words("pronouns") | words("empty") | SIGNS
    kinds = ("verb", "should", "turn", "conclude")
    return [
        _stem(word)
        for unit in units
        if unit.kind not in kinds
        for word in unit.text.split()
        if word not in empty and not word.isdecimal()
    ]


def _stem(word: str) -> str:
    return word.removesuffix("s") if len(word) > 3 else word
