"""A vision-language model asked in words (arXiv 2311.02782): images, frames, depth, plots.

Four kinds of prompt (section 1.2.1): the task, the class, the normal standard and a reference
image; combined as "naive", "class" and "expertise", zero-shot or one-shot. The document's own
wordings are data (prompts/vqa.json), each with its figure. What it leaves open, and how it is read:

- It reads replies by eye. Here `prompts.vqa_answer` does, by stated rules; a reply that declines,
  hedges or cannot be read is "unsure", and has no score or a middle one, never 0.
- It asks once. Here further questions ask for what is missing, at most `follow_ups` of them.
- Localisation (section 4) shows the picture and the same picture with numbered regions. Numbers in
  the reply become these regions; in every other task place words become cells of the 3 x 3 grid.
- The views of a sample are asked about together, as the document asks about two frames of a video.

A language model believes what it reads, text on the part included. It is one voice: `gpt4v-ad` with
a `map_source` weighs words against a detector that learnt from pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from numpy.typing import NDArray

from blemish.detectors import _saved, _vqa_decision
from blemish.detectors._asking import each
from blemish.detectors._language import LanguageDetector
from blemish.detectors._marked import Shown, shown
from blemish.detectors._vqa_options import VQAOptions
from blemish.detectors._vqa_question import Told, question, told
from blemish.detectors._vqa_rounds import conclude, converse, together
from blemish.prompts import vqa
from blemish.regions.division import Segmenter
from blemish.types import ChatModel, Example, Inspection, Sample


class VQA(LanguageDetector[VQAOptions]):
    """The detector. `blemish.load("vqa", language_model=...)` builds it.

    Args:
        language_model: is asked; safe to call from many threads.
        segmenter: for regions "sam".
        options: the detector's own.
        seed: nothing here is random; kept for the record.
        references: normal pictures to show; `fit` and `restore` give them.
        findings: earlier ones, to tell; `fit` and `restore` give them.

    Raises:
        OptionError: a part that the options need is missing.
    """

    name = "vqa"

    def __init__(
        self,
        *,
        language_model: ChatModel,
        segmenter: Segmenter | None = None,
        options: VQAOptions,
        seed: int = 0,
        references: Sequence[Shown] = (),
        findings: Sequence[Told] = (),
    ) -> None:
        super().__init__(
            language_model=language_model,
            segmenter=segmenter,
            options=options,
            seed=seed,
            references=references,
        )
        self._told = tuple(findings)
        self.fingerprint = _saved.fingerprint(
            *(self.name, options.model_dump(), vqa.version(), seed, self.fingerprints),
            *([[r.sha256, r.class_name] for r in self._shown], [asdict(t) for t in self._told]),
        )

    def fit(self, normals: Sequence[Sample], feedback: Sequence[Example] = ()) -> Self:
        """A detector that has these pictures to show and these findings to tell. Nothing is asked.

        Args:
            normals: of which `references` are shown, the first ones.
            feedback: parts that a person judged: an anomalous one tells that its `kind` at its
                place was confirmed; a normal one with another `kind` than "good", that this was
                rejected; a normal one that is "good" joins the normals.
        """
        good = [f.sample for f in feedback if f.label == "normal" and f.kind == "good"]
        if not (normals or feedback):
            return self
        return self._with(shown([*normals, *good]), told(feedback))

    def _with(self, references: Sequence[Shown], findings: Sequence[Told]) -> Self:
        return type(self)(
            language_model=self.language_model,
            segmenter=self.segmenter,
            options=self.options,
            seed=self.seed,
            references=references,
            findings=findings,
        )

    def predict(self, samples: Sequence[Sample]) -> list[Inspection]:
        """Inspect samples, many conversations at once.

        Args:
            samples: of any sizes. References of its own replace the detector's for a sample.

        Raises:
            ReferencesError: a reference is of another class than the sample.
            InputError: a localisation task, and a sample has several views.
            OptionError: the standards are empty or contradict each other.
            ChatError: a question got no answer. The others were asked too, so that a cache has
                their answers.
            BudgetError: a question would exceed the budget.
        """
        return each(self.language_model, [partial(self._inspect, sample) for sample in samples])

    def _inspect(self, sample: Sample) -> Inspection:
        asked = question(sample, self.options, self._shown, self._told, self.segmenter)
        talks = [
            converse(
                self.language_model,
                asked.message,
                asked.read,
                asked.wanted,
                attempt,
                vqa.schema() if self.options.answer == "json" else None,
            )
            for attempt in range(self.options.repeats)
        ]
        found = together([conclude(talk) for talk in talks], self.options.threshold)
        return _vqa_decision.inspection(
            sample, asked, talks, found, self.options.threshold, self.language_model.name
        )

    def _header(self) -> dict[str, Any]:
        return {**super()._header(), "findings": [asdict(one) for one in self._told]}

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The detector that `save` wrote, with this one's parts and options."""
        findings = [Told(**one) for one in header["findings"]]
        return self._with(self._pictures(header, arrays), findings)
