"""The claims of a reply, each with the image, the regions and the places that it is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from blemish.prompts import _vqa_where as where
from blemish.prompts._vqa_claims import Claim, claims
from blemish.prompts._vqa_context import Context
from blemish.prompts._vqa_scope import Says
from blemish.prompts._vqa_text import Sentence
from blemish.prompts._vqa_told import Asked, Statement, Told
from blemish.prompts._vqa_words import Unit, data, units, words

_ALL_BUT = re.compile(
    r"\b(?:all|every|each)(?: of)?(?: the)?(?: \w+)? (?:regions?|areas?|marks?|zones?|sections?)"
    r"(?: (?:except|but|other than|apart from|save)(?: for)? (?P<but>[^.;:]{1,60}))?"
)


def told(sentences: Sequence[Sentence], asked: Asked) -> Told:
    """Every statement of a reply."""
    result = Told()
    topic: frozenset[int] = frozenset()
    paragraph = -1
    before = Context()
    for number, sentence in enumerate(sentences):
        here = Context.of(sentence, number, asked, before)
        parts = here.units
        if not parts:
            continue
        result.last = number
        if asked.marks:
            result.regions |= set(where.regions(sentence.text, True))
        if sentence.paragraph != paragraph:
            paragraph = sentence.paragraph
            topic, _ = where.images(sentence.under, asked.images, asked.judged)
        if any(unit.kind in ("turn", "except") for unit in parts[:3]):
            result.turns.add(number)
        if sentence.heads:
            continue
        said = result.statements[-1].says if result.statements else None
        found = here.answers() or here.weighed(_claims(parts, sentence, asked, said))
        if sentence.text.endswith("?"):
            # A question of the reply's own claims nothing, but says what "no" answers.
            asks_normal = [claim.says for claim in found] == ["normal"]
            asked = replace(asked, yes="normal" if asks_normal else "anomalous")
            before = here
            continue
        made = _placed(found, sentence, number, asked, topic)
        _conclude(made, sentence, parts)
        named, _ = where.images(sentence.text, asked.images, asked.judged)
        topic = (made[-1].images if made else frozenset()) or named or topic
        if any(statement.claim.whole or statement.says != "normal" for statement in made):
            result.open_turn = False
        if not made:
            here.go_on(result, sentences, asked)
        here.silent = not made
        result.statements += made
        before = here
    return result


def _conclude(made: Sequence[Statement], sentence: Sentence, parts: Sequence[Unit]) -> None:
    """Mark the statements of a sentence that is a conclusion."""
    concludes = _concludes(parts) or _concludes(units(sentence.under), under=True)
    opening = f"{sentence.under} {sentence.text}".lower().strip()
    for statement in made:
        statement.concludes = concludes
        statement.named = re.match(data()["verdict heads"], opening) is not None
        if concludes and statement.says == "hedged" and _names_defect(sentence.text):
            statement.says = "anomalous"


def _concludes(parts: Sequence[Unit], under: bool = False) -> bool:
    """Whether a sentence begins as a conclusion, or says "therefore"."""
    if under:
        return len(parts) < 8 and any(unit.text in words("conclude") for unit in parts)
    strong = {"thus", "therefore", "hence", "i conclude", "we conclude", "consequently"}
    strong |= {"can be concluded", "it can be concluded", "can conclude"}
    leading = any(unit.text in words("conclude") for unit in parts[:3])
    return leading or any(unit.text in strong for unit in parts)


def _names_defect(text: str) -> bool:
    """A conclusion that there are potential defects, and where, is one that there are some."""
    return re.search(data()["named as potential"], text.lower()) is not None


def _claims(parts: list[Unit], sentence: Sentence, asked: Asked, said: Says | None) -> list[Claim]:
    """The claims of a sentence with what its heading adds, and with a bare yes or no."""
    answer, rest = _yes_or_no(parts, asked)
    found = claims(rest, said)
    if answer and not any(claim.says != "praise" for claim in found):
        found = [answer]
    if not sentence.under:
        return found
    head = claims(units(sentence.under))
    heads = head[0].says if head else ""
    bare = not any(unit.kind == "verb" for unit in parts)
    if any(unit.kind in ("seek", "whether") for unit in units(sentence.under)):
        return [claim for claim in found if not bare or claim.says != "anomalous"]
    if heads == "normal" and bare and sentence.item:
        return [Claim("normal", parts[0].start, parts[-1].end)]
    if heads in ("anomalous", "hedged") and not found and sentence.item:
        return [Claim(heads, parts[0].start, parts[-1].end)]
    if heads == "hedged" and bare:
        return [replace(c, says="hedged") if c.says == "anomalous" else c for c in found]
    return found


def _yes_or_no(parts: list[Unit], asked: Asked) -> tuple[Claim | None, list[Unit]]:
    """A "yes" or "no" that stands alone or before a comma, and the units without it."""
    known = data()
    for at, unit in enumerate(parts[:4]):
        alone = at + 1 == len(parts) or parts[at + 1].text in (",", ":", ";", "-", "–", "—")
        if alone and unit.text in (*known["yes"], *known["no"]):
            no: Says = "normal" if asked.yes == "anomalous" else "anomalous"
            says = asked.yes if unit.text in known["yes"] else no
            return Claim(says, parts[0].start, unit.end, whole=True), parts[at + 1 :]
        if unit.kind != "conclude" and unit.text not in (",", ":", "-"):
            break
    return None, parts


def _placed(
    found: list[Claim], sentence: Sentence, number: int, asked: Asked, topic: frozenset[int]
) -> list[Statement]:
    """The claims of a sentence as statements; those that say the same of the same are one."""
    made: list[Statement] = []
    start, text = 0, sentence.text
    for at, claim in enumerate(found):
        end = len(text) if at + 1 == len(found) else claim.end
        part = text[start:end]
        start = end
        named, _ = where.images(part, asked.images, asked.judged)
        topic = named or topic
        statement = Statement(
            claim,
            claim.says,
            part.strip(" ,;:-–—()"),
            number,
            images=topic,
            regions=where.regions(part, bool(asked.marks)),
            places=where.places(part),
        )
        if statement.says == "normal" and (statement.regions or statement.places):
            statement.claim = replace(claim, whole=False)
        if made and _same(made[-1], statement):
            made[-1] = _joined(made[-1], statement)
        else:
            made.append(statement)
    if len(made) == 1:
        made[0].words = text
    return _all_but(made, text, asked)


def _same(one: Statement, other: Statement) -> bool:
    a, b = one.claim, other.claim
    same = one.says == other.says and one.images == other.images
    return same and (a.whole, a.back, a.excepted) == (b.whole, b.back, b.excepted)


def _joined(one: Statement, other: Statement) -> Statement:
    return replace(
        one,
        claim=replace(
            one.claim, end=other.claim.end, turned=one.claim.turned or other.claim.turned
        ),
        words=f"{one.words}, {other.words}",
        regions=tuple(dict.fromkeys(one.regions + other.regions)),
        places=tuple(dict.fromkeys(one.places + other.places)),
    )


def _all_but(made: list[Statement], text: str, asked: Asked) -> list[Statement]:
    """Name the others where a reply says "all marked regions except 2 show rust"."""
    named = _ALL_BUT.search(text.lower()) if asked.marks else None
    if not named or not made:
        return made
    but = where.regions(f"regions {named['but']}", True) if named["but"] else ()
    but = but or (where.regions(named["but"], True) if named["but"] else ())
    others = tuple(mark for mark in asked.marks if mark not in but)
    main = made[-1]
    main.regions = others
    main.claim = replace(main.claim, excepted=False)
    if but and main.says == "normal":
        claim = replace(main.claim, says="anomalous", whole=False, excepted=True)
        made.append(replace(main, claim=claim, says="anomalous", regions=but))
    return made
