"""AnomalyGPT's own language model in a dialogue, through embeddings (2308.15366, section 3.3).

It is shown picture and map as it was for the verdict. What its evidence does not hold is said by
rule before it is asked, and what it says of places and numbers is held against the map
(`blemish.prompts.dialogue`): words never lower a finding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from blemish.conversation import Conversation
from blemish.detectors._anomalygpt_turn import arranged
from blemish.errors import OptionError
from blemish.prompts import anomalygpt as prompts
from blemish.prompts import dialogue
from blemish.types import Inspection, Sample

if TYPE_CHECKING:
    from torch import Tensor

ANSWER = 64
"""Tokens up to which an answer is written."""
KEPT = 16
"""Parts whose embeddings are kept."""


class OwnSpeaker:
    """Answers through embeddings in a language model; see `blemish.conversation.Speaker`.

    The verdict's explanation opens what the model reads of each part. The part that a question is
    about comes last, so that "it" is this one. Where all of it is longer than the window, the
    oldest turns are left out first, then other parts.

    Args:
        name: of the speaker.
        language_model: a `blemish.llms.causal.Causal`.
        seen: (1 + n, W) of a part, picture and map, as its language model reads them.
        described: tell it what a normal part of the class looks like.
        history: it was trained to go on with a dialogue; else it reads the part and the question,
            and what "it" means follows from the topic.
    """

    def __init__(
        self,
        name: str,
        language_model: Any,
        seen: Callable[[Sample, Inspection], Tensor],
        described: bool = True,
        history: bool = True,
    ) -> None:
        self.name = name
        self._model = language_model
        self._seen = lru_cache(maxsize=KEPT)(seen)
        self._described, self._history = described, history

    def reply(self, conversation: Conversation) -> Iterator[str]:
        """See `blemish.conversation.Speaker`."""
        turn = conversation.asked
        sample, inspection = conversation.parts[turn.part]
        asked = dialogue.about(turn.question, sample.class_name)
        finding = dialogue.finding(sample, inspection)
        if fixed := dialogue.by_rule(asked, finding, sample.class_name):
            yield fixed
            return
        preface = dialogue.preface(asked)
        if preface:
            yield preface
        prompt, prefix = self._prompt(conversation, described=not preface)
        said = []
        stream = self._model.stream(prompt, prefix=prefix, most=ANSWER, stop=(prompts.STOP,))
        with closing(stream):
            for piece in stream:
                said.append(piece)
                yield piece
        if words := dialogue.correction("".join(said), turn.question, asked, finding):
            yield f" {words}" if said else words

    def _prompt(self, conversation: Conversation, described: bool) -> tuple[Tensor, str]:
        """What the model reads after its prefix, as much of it as its window holds.

        A question that has nothing to do with the part comes without its description, as it is
        taught. Raises OptionError where the question alone is longer.
        """
        import torch

        now, embed = conversation.asked, self._model.embed
        prefix = prompts.prompt(now.question).before
        room = self._model.window - ANSWER - len(self._model.tokens(prefix)) - 1
        alone = self._shown(conversation, now.part, now.question, described)
        if len(alone) > room:
            raise OptionError(
                f"The question has {len(self._model.tokens(now.question))} tokens, and "
                f"{self._model.name} reads {self._model.window} with the part and its answer. Ask "
                "in fewer words."
            )
        if not self._history:
            return alone, prefix
        opening = self._opening(conversation, now.part)
        last = torch.cat([opening, embed(prompts.turn(now.question)).to(opening)])
        if len(last) > room:
            return alone, prefix
        room -= len(last)
        before = embed(prefix).to(last)
        openings: dict[int, Tensor] = {}
        for part in reversed([p for p in range(len(conversation.parts)) if p != now.part]):
            other = self._opening(conversation, part)
            if len(other) + len(before) > room:
                break
            room -= len(other) + len(before)
            openings[part] = other
        turns: dict[int, list[Tensor]] = {}
        for turn in reversed(conversation.turns[:-1]):
            if turn.part not in (now.part, *openings):
                continue
            said = embed(prompts.turn(turn.question) + prompts.reply(turn.answer or ""))
            if len(said) > room:
                break
            room -= len(said)
            turns.setdefault(turn.part, []).insert(0, said.to(last))
        blocks = [[openings[part], *turns.get(part, []), before] for part in sorted(openings)]
        blocks.append([opening, *turns.get(now.part, []), last[len(opening) :]])
        return torch.cat([rows for block in blocks for rows in block]), prefix

    def _opening(self, conversation: Conversation, part: int) -> Tensor:
        """A part's picture, the question for its verdict, and what the verdict's words are."""
        import torch

        sample, inspection = conversation.parts[part]
        said = inspection.explanation or dialogue.own_words(dialogue.finding(sample, inspection))
        shown = self._shown(conversation, part, prompts.questions()[0])
        return torch.cat([shown, self._model.embed(prompts.reply(said)).to(shown)])

    def _shown(
        self, conversation: Conversation, part: int, question: str, described: bool = True
    ) -> Tensor:
        """A turn that shows a part, after its prefix."""
        sample, inspection = conversation.parts[part]
        words = prompts.description(sample.class_name) if described and self._described else ""
        rows = self._seen(sample, inspection)
        return arranged(self._model, rows, prompts.prompt(question, words))
