"""The dialogue about an inspection: asked through the line's language model, kept as messages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from sqlalchemy import func, select

from blemish import build, registry
from blemish.conversation import Conversation, Speaker
from blemish.errors import BlemishError, InputError, NotFoundError, OptionError
from blemish.runs import rows as run_rows
from blemish.service import heat, patience, permits, records
from blemish.service.shop import Shop
from blemish.service.store import tables as t
from blemish.service.types import MessageRow, Version
from blemish.types import Inspection

LONGEST_QUESTION = 4000
GOOD = 2
"""Good parts that a speaker is shown beside the inspected one."""


class Talk:
    """See the module; methods as those of `Station`."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    def messages(self, id: str) -> tuple[MessageRow, ...]:
        """The dialogue about an inspection."""
        with self._shop.database.reading() as session:
            row = records.inspection_called(session, id)
            return tuple(records.message(message) for message in row.messages)

    def ask(self, id: str, question: str, llm: str = "") -> Iterator[str]:
        """An answer piece by piece; what is wrong with the question is said at once."""
        version, name = self._asked(id, question, llm)
        self._note(id, "user", question)
        return self._kept(id, self._answer(id, None, question, version, llm), name)

    def reply(self, id: str, said: Sequence[tuple[str, str]], question: str) -> Iterator[str]:
        """See `Station.reply`."""
        version, _ = self._asked(id, question, "")
        return self._answer(id, said, question, version, "")

    def _asked(self, id: str, question: str, llm: str) -> tuple[Version, str]:
        """The version of an inspection, and the name of who answers."""
        if not question.strip() or len(question) > LONGEST_QUESTION:
            raise InputError(
                f"The question has {len(question.strip())} characters; expected 1 to "
                f"{LONGEST_QUESTION}."
            )
        with self._shop.database.reading() as session:
            row = records.inspection_called(session, id)
            version = records.version(row.version, row.line)
        return version, self._speaker_name(version, llm)

    def _speaker_name(self, version: Version, llm: str) -> str:
        if chosen := llm or version.language_model:
            permits.check_language_model(chosen, self._shop.settings)
            return chosen
        if not registry.detector(version.detector).embeds:
            raise OptionError(
                f"The line {version.line!r} has nobody to talk with: {version.detector} has no "
                "language model, and the line names none. Name one, such as openai:gpt-5, or "
                "give the line the detector anomalygpt."
            )
        return version.detector

    def _answer(
        self,
        id: str,
        said: Sequence[tuple[str, str]] | None,
        question: str,
        version: Version,
        llm: str,
    ) -> Iterator[str]:
        """The answer; what was said before is that of the kept messages where None."""

        def start() -> Iterator[str]:
            talk = self._conversation(id, version, said).ask(question)
            return self._speaker(version, llm).reply(talk)

        name = self._speaker_name(version, llm)
        return patience.timed(start, self._shop.settings.talk_seconds, name)

    def _kept(self, id: str, pieces: Iterator[str], name: str) -> Iterator[str]:
        """The pieces of an answer, which is a message at the end, however it ends."""
        said: list[str] = []
        fault: dict[str, str] | None = {
            "error": "Stopped",
            "message": "It was stopped before it was complete.",
        }
        try:
            for piece in pieces:
                said.append(piece)
                yield piece
            fault = None
        except BlemishError as error:
            fault = records.fault_of(error)
            raise
        except Exception as error:
            fault = {"error": type(error).__name__, "message": "An error that was not foreseen."}
            raise
        finally:
            getattr(pieces, "close", lambda: None)()
            with contextlib.suppress(NotFoundError):  # it was deleted meanwhile
                self._note(id, "assistant", "".join(said), name, fault)

    def _speaker(self, version: Version, llm: str) -> Speaker:
        if chosen := llm or version.language_model:
            where = {"device": self._shop.settings.device, "dtype": self._shop.settings.dtype}
            return build.speaker(chosen, **where)
        own = build.own_speaker(self._shop.detector(self._shop.row_of(version), version))
        if own is None:
            raise OptionError(f"{version.detector} was fitted without its language model.")
        return own

    def _conversation(
        self, id: str, version: Version, said: Sequence[tuple[str, str]] | None
    ) -> Conversation:
        """What was said and answered before, with the part as its detector saw it."""
        with self._shop.database.reading() as session:
            kept = records.inspection_called(session, id)
            row, shas = records.inspection(kept), list(kept.maps)
            messages = [records.message(message) for message in kept.messages]
        said = _answered(messages) if said is None else said
        sample = self._shop.sample(row, version)
        maps = tuple(
            heat.spread(heat.unpacked(self._shop.files.read(sha)), size)
            for sha, size in zip(shas, row.sizes, strict=False)
        )
        found = Inspection(
            id=row.name,
            verdict=row.verdict,
            decided_by=row.decided_by,
            reason=row.reason,
            score=row.score,
            raw_score=row.raw_score,
            maps=maps,
            regions=run_rows.regions_of({"regions": row.regions}),
            explanation=row.explanation,
            evidence=row.evidence,
        )
        good = self._shop.normals(version.references[:GOOD], version.class_name)
        talk = Conversation(references=tuple(good)).show(sample, found)
        for question, answer in said:
            talk = talk.ask(question).answered(answer)
        return talk

    def _note(
        self,
        id: str,
        role: Any,
        text: str,
        model: str = "",
        fault: dict[str, str] | None = None,
    ) -> None:
        with self._shop.database.session() as session:
            records.inspection_called(session, id, lock="change")
            last = session.scalar(
                select(func.max(t.Message.number)).where(t.Message.inspection_id == id)
            )
            session.add(
                t.Message(
                    inspection_id=id,
                    number=(last or 0) + 1,
                    role=role,
                    text=text,
                    model=model,
                    fault=fault,
                )
            )


def _answered(messages: Sequence[MessageRow]) -> list[tuple[str, str]]:
    """The answered questions, in order; one that waits or failed is left out."""
    return [
        (asked.text, answered.text)
        for asked, answered in pairwise(messages)
        if (asked.role, answered.role) == ("user", "assistant")
        and answered.fault is None
        and answered.text.strip()
    ]
