"""What a reply states, and what was asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from blemish.prompts._vqa_claims import Claim
from blemish.prompts._vqa_scope import Says


@dataclass
class Statement:
    """A claim in its place.

    Attributes:
        claim: what it says and how.
        says: as the claim, until what comes after it turns it.
        words: the sentence or the part of it.
        sentence: number of the sentence in the reply.
        concludes: the sentence is marked as a conclusion.
        named: it is headed "Verdict", "Answer" or the like, so that it may stand first.
        images: numbers of images that it is about; empty for those that are judged.
        regions: numbers of regions that it names.
        places: place words that it names.
    """

    claim: Claim
    says: Says
    words: str
    sentence: int
    concludes: bool = False
    named: bool = False
    images: frozenset[int] = frozenset()
    regions: tuple[int, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """What the reader was told of the question.

    Attributes:
        yes: what "yes" means: "anomalous" or "normal".
        marks: numbers that were drawn.
        images: how many were shown.
        judged: those the question is about.
    """

    yes: Says
    marks: tuple[int, ...]
    images: int
    judged: tuple[int, ...]


@dataclass
class Told:
    """All that a reply states.

    Attributes:
        statements: in order.
        turns: numbers of the sentences that begin with "however" or the like.
        open_turn: one of these sentences claims nothing, and no whole statement follows it.
        unread: a sentence says something that was not understood.
        odd: such a sentence denies or limits something.
        last: number of the last sentence.
        regions: every number of a drawn region that is named anywhere.
    """

    statements: list[Statement] = field(default_factory=list)
    turns: set[int] = field(default_factory=set)
    open_turn: bool = False
    unread: bool = False
    odd: bool = False
    last: int = -1
    regions: set[int] = field(default_factory=set)
