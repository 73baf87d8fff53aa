"""What a sentence says only together with the one before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from blemish.prompts import _vqa_where as where
from blemish.prompts._vqa_claims import Claim
from blemish.prompts._vqa_clauses import SIGNS
from blemish.prompts._vqa_required import Part, differs, parts
from blemish.prompts._vqa_scope import Says
from blemish.prompts._vqa_text import Sentence
from blemish.prompts._vqa_told import Asked, Statement, Told
from blemish.prompts._vqa_words import Unit, units, words

_BAD = frozenset({"defect", "generic"})
_ODD = frozenset({"not", "few", "turn", "except", "lack"})
_ANSWERING = frozenset({"verb", "not", "present", "whole", "conclude"})


_NONE = Sentence("", 0)


@dataclass
class Context:
    """A sentence, and what the next one may speak of.

    Attributes:
        sentence: as it stands in the reply.
        number: of the sentence.
        units: of it.
        parts: of it, by what has to be and what is.
        before: the units of the sentence before it, if that claims nothing.
        required: the parts of the sentence before it.
        differs: what it says to be is not what has to be; see `differs`.
        silent: it claims nothing itself.
    """

    sentence: Sentence = _NONE
    number: int = 0
    units: list[Unit] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    before: list[Unit] = field(default_factory=list)
    required: list[Part] = field(default_factory=list)
    differs: bool | None = None
    silent: bool = True

    @classmethod
    def of(cls, sentence: Sentence, number: int, asked: Asked, before: Context) -> Context:
        """A sentence behind another."""
        known = units(sentence.text)
        held = parts(known, sentence.text, asked.images, asked.judged)
        silent = before.units if before.silent else []
        return cls(sentence, number, known, held, silent, before.parts, differs(held, before.parts))

    def answers(self) -> list[Claim]:
        """What "there are none" or "there are two" says of the defects that were looked for."""
        cut = max((at for at, unit in enumerate(self.units[:-1]) if _parts(unit)), default=-1) + 1
        for sought, said in ((self.units[:cut], self.units[cut:]), (self.before, self.units)):
            texts = {unit.text for unit in said if unit.text not in SIGNS}
            short = len(texts) < 9 and all(_answering(unit) for unit in said)
            if not short or not any(unit.kind in _BAD for unit in sought):
                continue
            start, end = said[0].start, said[-1].end
            denied = _denied(said)
            none = texts & words("none") or (texts & (words("any") | {"one"}) and denied)
            if texts <= words("pronouns") | {"is", "are", "does", "do", "has", "not", "indeed"}:
                says: Says = "normal" if denied else "anomalous"
                return [Claim(says, start, end, whole=True)]
            if none:
                return [Claim("normal", start, end, denies=True)]
            if texts & words("several") and not denied:
                return [Claim("anomalous", start, end)]
        return []

    def weighed(self, found: list[Claim]) -> list[Claim]:
        """Some claims, or that what is there differs from what has to be there."""
        if self.differs is None or any(claim.says in ("anomalous", "hedged") for claim in found):
            return found
        says = Claim("anomalous" if self.differs else "normal", *self._span)
        return [says] if self.differs or not found else found

    @property
    def _span(self) -> tuple[int, int]:
        return self.units[0].start, self.units[-1].end

    def go_on(self, result: Told, sentences: Sequence[Sentence], asked: Asked) -> None:
        """A sentence that claims nothing may say more of the last finding, or leave it open."""
        last = result.statements[-1] if result.statements else None
        if last and last.says == "anomalous" and self._tells_more(sentences[last.sentence]):
            last.words += f" {self.sentence.text}"
            self._add_places(last, asked)
        elif last and self._follows_up():
            self._add_places(last, asked)
        elif not any(unit.text in words("caution") for unit in self.units):
            result.open_turn |= self.number in result.turns
            self._leave(result)

    def _tells_more(self, there: Sentence) -> bool:
        """Whether it goes on with an item of a list, or is a line like "Location: top right"."""
        texts = [unit.text for unit in self.units[:4]]
        label = texts[: texts.index(":")] if ":" in texts else texts[:1]
        listed = self.sentence.item and self.sentence.paragraph == there.paragraph
        labels = ":" in texts or label[0] in ("reason", "because", "explanation")
        return listed or (labels and bool(set(label) & words("field")))

    def _follows_up(self) -> bool:
        """Whether it goes on about the sentence before: "It is at the top"."""
        return self.units[0].text in words("back") or "located" in self.sentence.text.lower()

    def _add_places(self, statement: Statement, asked: Asked) -> None:
        text = self.sentence.text
        regions = where.regions(text, bool(asked.marks))
        statement.regions = tuple(dict.fromkeys(statement.regions + regions))
        statement.places = tuple(dict.fromkeys(statement.places + where.places(text)))

    def _leave(self, result: Told) -> None:
        """Note a sentence that was not understood; what opens a reply may only describe it."""
        kinds = {unit.kind for unit in self.units}
        opens = self.number == 0 and {unit.text for unit in self.units[:3]} & words("whole")
        quotes = "…" in self.sentence.text
        topic = self.units[0].kind == "seek" and "," in {unit.text for unit in self.units}
        if topic:
            kinds -= {"seek"}  # "As to rule 2, the strap hangs down"
        if quotes or kinds & {"seek", "whether", "seeming", "cause"} or opens:
            return
        if any(not part.asked for part in self.parts):
            result.unread = True
            result.odd |= bool(kinds & _ODD)


def _parts(unit: Unit) -> bool:
    return unit.kind == "turn" or unit.text in SIGNS or unit.text == "and"


def _denied(said: Sequence[Unit]) -> bool:
    return any(unit.kind == "not" for unit in said)


@cache
def _known() -> frozenset[str]:
    lists = ("pronouns", "back", "several", "answering", "none", "any")
    return SIGNS.union(*map(words, lists))


def _answering(unit: Unit) -> bool:
    """Whether a word may stand in a sentence that says no more than "there are none"."""
    return unit.kind in _ANSWERING or unit.text in _known()
