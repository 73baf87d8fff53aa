"""What is taken from a reply: findings, and the verdict that they come to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from blemish.types import Reason, Verdict


@dataclass(frozen=True)
class Finding:
    """One thing that a reply says of the judged image.

    Attributes:
        words: as the reply puts it.
        says: whether that is anomalous, normal, or anomalous only possibly.
        regions: numbers of drawn regions that it names.
        places: words of `blemish.places.POSITIONS` that it names.
    """

    words: str
    says: Literal["anomalous", "normal", "hedged"]
    regions: tuple[int, ...] = ()
    places: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a reply comes to.

    Attributes:
        verdict: "unsure" where it gives none, or none that holds.
        reason: why it is unsure: refused, unparsed, hedged or contradicted; else "".
        words: the same for a person; "" where the verdict is clear.
        findings: about the judged image, in the order of the reply.
        score: the anomaly score it states, in [0, 1]; None where it states none.
        repaired: what was read leniently.
        whole: some words are about the part as a whole. A part that is normal piece by piece only
            may have a defect that the reply calls by a word that is not known.
    """

    verdict: Verdict
    reason: Reason = ""
    words: str = ""
    findings: tuple[Finding, ...] = ()
    score: float | None = None
    repaired: tuple[str, ...] = field(default=())
    whole: bool = False

    @property
    def regions(self) -> tuple[int, ...]:
        """Regions of the anomalous findings, each once."""
        return tuple(dict.fromkeys(n for found in self._anomalous for n in found.regions))

    @property
    def places(self) -> tuple[str, ...]:
        """Place words of the anomalous findings, each once."""
        return tuple(dict.fromkeys(p for found in self._anomalous for p in found.places))

    @property
    def reasons(self) -> tuple[str, ...]:
        """The anomalous findings in their words, each once."""
        return tuple(dict.fromkeys(found.words for found in self._anomalous))

    @property
    def _anomalous(self) -> list[Finding]:
        return [found for found in self.findings if found.says == "anomalous"]
