"""GPT-4V-AD (arXiv 2311.02612): a language model scores the numbered regions of a picture.

Regions are divided and marked (section 3.1), the model is asked with the class in the prompt (3.2),
and the regions take the scores that it writes (3.3). It needs no normal parts. What the document
leaves open, and how it is read here:

- Image score: the written one where `image_score` asks for it, else the highest of the regions; 0
  where the reply says that no region is anomalous.
- Verdict: the document has none. A written score is compared with `threshold`; "unsure" in the
  project's band around it. There is no calibration: scores of good parts are mostly exactly 0, so
  that no spread can be learnt from them.
- A reply that cannot be read or a refusal is "unsure" and has no score, never 0.
- Views of one part are asked about one by one; the highest score counts.

A language model believes what it reads, text on the part included: one that is told by a sticker
to call the part normal may do so. Without `map_source` there is only its word. With one, another
detector judges as well, and a part of which one says normal and the other does not is "unsure".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from blemish.detectors import _decision, _opinion, _saved
from blemish.detectors._asking import Call, ask_all
from blemish.detectors._gpt4v_ad_options import GPT4VADOptions
from blemish.detectors._language import LanguageDetector
from blemish.detectors._marked import Shown, View, chosen_of, shown, view_of
from blemish.errors import OptionError
from blemish.prompts import boxes
from blemish.prompts import gpt4v_ad as prompts
from blemish.prompts.expected import ALTERNATIVES, expected_scores
from blemish.regions import preprocessing
from blemish.regions.division import Segmenter
from blemish.types import (
    ChatModel,
    Detector,
    Example,
    Inspection,
    Reply,
    Sample,
    Usage,
)


class GPT4VAD(LanguageDetector[GPT4VADOptions]):
    """The detector. `blemish.load("gpt4v-ad", language_model=...)` builds it.

    Args:
        language_model: is asked; safe to call from many threads.
        segmenter: for regions "sam".
        map_source: another detector whose finding goes along; see `heat` and the top of the file.
        options: the detector's own.
        seed: nothing here is random; kept for the record.
        references: pictures to show; `fit` and `restore` give them.

    Raises:
        OptionError: options that do not go together, or a part that they need is missing.
    """

    name = "gpt4v-ad"

    def __init__(
        self,
        *,
        language_model: ChatModel,
        segmenter: Segmenter | None = None,
        map_source: Detector | None = None,
        options: GPT4VADOptions,
        seed: int = 0,
        references: Sequence[Shown] = (),
    ) -> None:
        super().__init__(
            language_model=language_model,
            segmenter=segmenter,
            options=options,
            seed=seed,
            references=references,
        )
        self.map_source = map_source
        self._map_source_turn = threading.Lock()
        options.check()
        if options.heat != "none" and map_source is None:
            raise OptionError(
                f"heat='{options.heat}' needs the map of another detector. Give one, such as "
                "map_source='patch-memory'."
            )
        self.fingerprint = _saved.fingerprint(
            *(self.name, options.model_dump(), prompts.data()["version"], seed),
            *(preprocessing.steps(options.preprocessing), self.fingerprints),
            [[r.label, r.places, r.sha256] for r in self._shown],
        )

    @property
    def parts(self) -> dict[str, Any]:
        """The parts that were given, by name."""
        source = {"map_source": self.map_source} if self.map_source else {}
        return super().parts | source

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """A detector that has these pictures to show; its map source learns them as well.

        Nothing is asked. Without any picture it is this detector itself.

        Args:
            normals: of which `references` are shown, the first ones.
            feedback: labelled parts; of the anomalous ones `examples` are shown.
        """
        given: list[Sample | Example] = [*normals, *feedback]
        if not given:
            return self
        source = self.map_source.fit(normals, feedback) if self.map_source else None
        return self._with(source, shown(given))

    def _with(self, source: Detector | None, references: Sequence[Shown]) -> Self:
        return type(self)(
            language_model=self.language_model,
            segmenter=self.segmenter,
            map_source=source,
            options=self.options,
            seed=self.seed,
            references=references,
        )

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Inspect samples; their questions are asked at the same time. Safe in many threads.

        Args:
            samples: of any sizes. References of its own replace the detector's for a sample.

        Raises:
            ReferencesError: fewer pictures to show than `references` or `examples` ask for.
            ChatError: a question got no answer. The others were asked too, so that a cache has
                their answers.
            BudgetError: a question would exceed the budget.
        """
        found: Sequence[Inspection | None] = [None] * len(samples)
        if self.map_source and samples:
            with self._map_source_turn:  # it computes here, and takes the memory for it
                found = self.map_source.predict(samples)
        views: list[list[View]] = []

        def calls() -> Iterator[Call]:
            for sample, finding in zip(samples, found, strict=True):
                views.append([])
                for number in range(len(sample.images)):
                    views[-1].append(self._view(sample, number, finding))
                    yield from self._calls(views[-1][-1])

        replies = iter(ask_all(self.language_model, calls()))
        return [
            self._inspection(sample, some, finding, replies)
            for sample, some, finding in zip(samples, views, found, strict=True)
        ]

    def _view(self, sample: Sample, number: int, found: Inspection | None) -> View:
        clock = time.perf_counter()
        known = shown(sample.references) if sample.references else self._shown
        o = self.options
        chosen = chosen_of(known, "normal", o.references) + chosen_of(
            known, "anomalous", o.examples
        )
        view = view_of(
            *(sample, number, o, chosen),
            segmenter=self.segmenter,
            source=self.map_source,
            found=found,
        )
        return replace(view, seconds=time.perf_counter() - clock)

    def _calls(self, view: View) -> Iterator[Call]:
        o = self.options
        schema = prompts.schema(o.asks) if o.prompt == "json" else None
        logprobs = ALTERNATIVES if o.scores == "log-probabilities" else 0
        if view.message:
            for attempt in range(o.repeats):
                yield Call((view.message,), schema, logprobs, attempt)

    def _inspection(
        self,
        sample: Sample,
        views: Sequence[View],
        found: Inspection | None,
        replies: Iterator[Reply],
    ) -> Inspection:
        said = [[next(replies) for _ in self._calls(view)] for view in views]
        opinions, written = [], 0
        for number, (view, some) in enumerate(zip(views, said, strict=True)):
            answers = [self._answer(view, reply) for reply in some]
            written += sum(not weighed for _, weighed in answers)
            read = [answer for answer, _ in answers]
            opinions.append(_opinion.opinion(view, number, read, self.options.threshold))
        evidence = {
            "language_model": self.language_model.name,
            "prompt": {"name": self.options.prompt, "version": prompts.data()["version"]},
            "preprocessing": {
                "name": self.options.preprocessing,
                "steps": preprocessing.steps(self.options.preprocessing),
            },
            "operating_point": self.options.threshold,
            **_decision.evidence(views, said, opinions, self.map_source, found),
        }
        if self.options.scores == "log-probabilities":
            evidence["answers_with_written_scores"] = written
        flat = [reply for some in said for reply in some]
        usage = sum((r.usage for r in flat), found.usage if found else Usage())
        seconds = {**usage.seconds, "divide": sum(view.seconds for view in views)}
        done = _decision.inspection(sample, opinions, self.options.threshold, found, bool(flat))
        return replace(done, evidence=evidence, usage=replace(usage, seconds=seconds))

    def _answer(self, view: View, reply: Reply) -> tuple[prompts.Answer, bool]:
        """What a reply says, and whether its scores are expected values."""
        assert view.message is not None
        asked = view.message.text
        if self.options.regions == "boxes":
            return boxes.parse(reply.text, *view.asked, ended=reply.ended, asked=asked), False
        answer = prompts.parse(reply.text, view.regions, ended=reply.ended, asked=asked)
        if self.options.scores == "written" or answer.problem:
            return answer, False
        weighed = expected_scores(reply.tokens, answer.scores, answer.image_score)
        if weighed is None:
            return answer, False
        return replace(answer, scores=weighed[0], image_score=weighed[1]), True

    def save(self, folder: Path) -> None:
        """Options, names of the parts and pictures to show; a map source in a folder of its own."""
        super().save(folder)
        if self.map_source:
            self.map_source.save(Path(folder) / "map_source")

    def _header(self) -> dict[str, Any]:
        header = super()._header()
        if self.map_source:
            header["parts"]["map_source"] = "map_source"
        return header

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The detector that `save` wrote, with this one's parts and options."""
        return self._with(self.map_source, self._pictures(header, arrays))
