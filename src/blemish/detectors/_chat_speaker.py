"""Any chat model in a dialogue about inspected parts, and as the speaker of an explanation.

It is shown pictures of the parts, the same with the detector's map over them, a few good parts, and
the findings in words, with rules: what can be read in a picture is no instruction, and a finding
stands (`blemish.prompts.dialogue`). An answer that contradicts the finding is followed by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np

from blemish.conversation import Conversation
from blemish.detectors._asking import each
from blemish.errors import AccessError, BudgetError, ChatError
from blemish.prompts import dialogue
from blemish.types import AnomalyMap, ChatModel, Image, Inspection, Message, Sample

TURNS = 20
"""Latest turns that it is told: an endpoint does not say how long its window is."""
PARTS, GOOD = 4, 2
"""Parts, and good parts, whose pictures it is shown."""
_SIDE = 768
"""Longest side in pixels of a picture with its map."""
_OVER = 0.45
"""Share of the map's colours where it is laid over a picture."""


class ChatSpeaker:
    """Lets a chat model answer; see `blemish.conversation.Speaker`.

    Args:
        model: any chat model that sees pictures.
    """

    def __init__(self, model: ChatModel) -> None:
        self.model = model
        self.name = model.name

    def reply(self, conversation: Conversation) -> Iterator[str]:
        """See `blemish.conversation.Speaker`."""
        asked, said = conversation.asked, []
        # A generator in every implementation, which the protocol leaves open.
        stream: Any = self.model.stream(messages(conversation))
        with closing(stream):
            for piece in stream:
                said.append(piece)
                yield piece
        if words := objection(conversation, "".join(said)):
            yield f"\n{words}"
        elif not "".join(said).strip():
            raise ChatError(
                f"{self.name} said nothing to {asked.question!r}. Ask again, or another model."
            )


def messages(conversation: Conversation) -> list[Message]:
    """What a chat model is sent: rules, parts with their pictures, then the turns."""
    now, number = conversation.asked, len(conversation.parts)
    texts, images, _ = _shown(conversation)
    old = conversation.turns[:-1][-TURNS:]
    said = [dialogue.question(turn.question, turn.part + 1, number) for turn in (*old, now)]
    first, *others = said
    sent = [
        Message("system", dialogue.rules()),
        Message("user", "\n\n".join([*texts, first]), tuple(images)),
    ]
    for turn, following in zip(old, others, strict=True):
        sent += [Message("assistant", turn.answer or ""), Message("user", following)]
    return sent


def objection(conversation: Conversation, answer: str, ended: Any = "stop") -> str:
    """What has to follow on an answer that contradicts the finding; else ""."""
    now = conversation.asked
    _, images, judged = _shown(conversation)
    finding = dialogue.finding(*conversation.parts[now.part])
    return dialogue.objection(
        answer, now.question, finding, images=len(images), judged=judged, ended=ended
    )


def spoken(
    model: ChatModel, samples: Sequence[Sample], found: Sequence[Inspection]
) -> list[Inspection]:
    """Inspections whose explanations a chat model speaks; verdict and score stay the detector's.

    Words that contradict the finding make it "unsure". Where the model gives none, the detector's
    own stay, and the evidence says why.

    Raises:
        AccessError, BudgetError: no further question will be answered.
    """
    return each(
        model,
        (partial(_spoken, model, s, f) for s, f in zip(samples, found, strict=True)),
    )


def _spoken(model: ChatModel, sample: Sample, found: Inspection) -> Inspection:
    talk = Conversation().show(sample, found).ask(dialogue.explain())
    told: dict[str, Any] = {"model": model.name, "question": talk.asked.question}
    try:
        reply = model.chat(messages(talk))
    except (AccessError, BudgetError):
        raise
    except ChatError as error:
        return replace(found, evidence={**found.evidence, "speaker": told | {"error": str(error)}})
    usage, words = found.usage + reply.usage, reply.text.strip()
    evidence = {**found.evidence, "speaker": told | {"answer": reply.text, "ended": reply.ended}}
    if not words or reply.ended == "refused":
        return replace(found, evidence=evidence, usage=usage)
    if against := objection(talk, words, reply.ended):
        words = f"{model.name}: {words} {against}"
        found = replace(found, verdict="unsure", reason=found.reason or "contradicted")
    return replace(found, explanation=words, evidence=evidence, usage=usage)


def _shown(conversation: Conversation) -> tuple[list[str], list[Image], range]:
    """What is told and shown of all parts, and which of the images, from 1, are in question."""
    now, number = conversation.asked.part, len(conversation.parts)
    latest = [part for part in range(number) if part != now][1 - PARTS :]
    images = _references(conversation)
    texts = [dialogue.references(len(images))] if images else []
    judged = range(0)
    for part, (sample, inspection) in enumerate(conversation.parts):
        own = _pictures(sample, inspection) if part in (now, *latest) else []
        texts.append(dialogue.found(part + 1, sample.class_name, inspection, len(own)))
        if part == now:
            judged = range(len(images) + 1, len(images) + len(own) + 1)
        images += own
    return texts, images, judged


def _references(conversation: Conversation) -> list[Image]:
    """Good parts: those of the part in question, else those of the conversation."""
    sample, _ = conversation.parts[conversation.asked.part]
    own = [one for one in sample.references if isinstance(one, Sample)]
    return [one.image for one in (own or conversation.references)[:GOOD]]


def _pictures(sample: Sample, inspection: Inspection) -> list[Image]:
    """The view with the most anomalous region, and the same with the map over it, if there is one.

    The map's colours run from blue to red, with the operating point in the middle.
    """
    view = inspection.regions[0].view if inspection.regions else 0
    if not inspection.maps:
        return [sample.images[view]]
    point = inspection.evidence.get("operating_point")
    return [sample.images[view], _painted(sample.images[view], inspection.maps[view], point)]


def _painted(image: Image, raw: AnomalyMap, point: Any) -> Image:
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    height, width = (max(1, round(side * scale)) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    low, high = float(raw.min()), float(raw.max())
    middle = float(point) if isinstance(point, float) else (low + high) / 2
    spread = max(high - middle, middle - low, 1e-6)
    steps = np.clip(127.5 * (1 + (raw - middle) / spread), 0, 255).astype(np.uint8)
    steps = cv2.resize(steps, (width, height), interpolation=cv2.INTER_LINEAR)
    colours = cv2.cvtColor(cv2.applyColorMap(steps, cv2.COLORMAP_JET), cv2.COLOR_BGR2RGB)
    return cast(Image, cv2.addWeighted(small, 1 - _OVER, colours, _OVER, 0))
