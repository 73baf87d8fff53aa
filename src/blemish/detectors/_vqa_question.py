"""What `vqa` asks about a sample: pictures in their order, the text, and how replies are read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blemish.detectors._marked import Shown, divided, shown
from blemish.detectors._vqa_options import VQAOptions
from blemish.detectors._vqa_rounds import Wanted
from blemish.errors import ReferencesError
from blemish.places import positions
from blemish.prompts import standards, vqa, vqa_answer
from blemish.prompts.vqa_answer import Reading
from blemish.regions import marks
from blemish.regions.division import Division, Segmenter
from blemish.types import Example, Message, Reply, Sample


@dataclass(frozen=True)
class Told:
    """An earlier finding that a person judged.

    Attributes:
        class_name: of the part that it was made on.
        words: what was found, and where.
        confirmed: whether it was a defect.
    """

    class_name: str
    words: str
    confirmed: bool


@dataclass(frozen=True, eq=False)
class Question:
    """A question and what is needed to understand its answer.

    Attributes:
        message: what is asked.
        wanted: what the conversation is to end with.
        about: task, setting and prompt kind, for the evidence.
        division: of the marked picture; None where nothing is marked.
        images: how many pictures are shown.
        judged: which of them are judged, from 1.
        seconds: that it took to make.
    """

    message: Message
    wanted: Wanted
    about: dict[str, Any]
    division: Division | None
    images: int
    judged: tuple[int, ...]
    seconds: float

    def read(self, reply: Reply, asked: str, kind: str) -> Reading:
        """What a reply to this question, or to one of a kind that follows it, says."""
        marked = self.division.numbers if self.division else ()
        reading = vqa_answer.read(
            reply.text,
            asked=asked,
            ended=reply.ended,
            marks=marked,
            images=self.images,
            judged=self.judged,
        )
        if kind == "where" and reply.ended == "stop":
            return vqa_answer.read_where(reading, reply.text, marked)
        return reading


def told(feedback: Sequence[Example]) -> list[Told]:
    """Findings of parts that a person judged; a normal part that is "good" tells none."""
    findings = []
    for example in feedback:
        confirmed = example.label == "anomalous"
        if not confirmed and example.kind == "good":
            continue
        what = "an anomaly" if example.kind == "good" else example.kind
        where = positions(example.mask) if example.mask is not None and example.mask.any() else ()
        words = f"{what}, at: {', '.join(where)}" if where else what
        findings.append(Told(example.sample.class_name, words, confirmed))
    return findings


def question(
    sample: Sample,
    options: VQAOptions,
    known: Sequence[Shown],
    findings: Sequence[Told],
    segmenter: Segmenter | None = None,
) -> Question:
    """Put the question about a sample together.

    References come first, then the views, then the marked picture of a localisation task.

    Args:
        sample: the part.
        options: how to ask.
        known: normal pictures; the sample's own references replace them.
        findings: earlier ones; those of the sample's class are told, the latest last.
        segmenter: for regions "sam".

    Raises:
        ReferencesError: a reference is of another class.
        InputError: a localisation task, and several views.
        OptionError: the standards are empty or contradict each other.
    """
    clock = time.perf_counter()
    references = _of_class(shown(sample.references) if sample.references else known, sample)
    references = references[: options.references]
    task, prompt = options.task_of(sample), options.prompt_of(sample)
    division = None
    views = list(sample.images)
    if task.endswith("localisation"):
        division = divided(sample.image, options, segmenter)
        views.append(marks.draw(sample.image, division, options.avoid_small))
    words = options.words_of(sample) if prompt == "expertise" else ""
    same = [one for one in findings if one.class_name == sample.class_name]
    same = same[len(same) - min(len(same), options.feedback) :]
    text = vqa.question(
        task,
        prompt,
        class_name=sample.class_name,
        standards=words,
        references=len(references),
        views=len(sample.images),
        auxiliary=sample.auxiliary,
        feedback=[(one.words, one.confirmed) for one in same],
    )
    if options.answer == "json":
        text = vqa.as_json(text)
    pictures = (*(one.picture for one in references), *views)
    closed = options.scores == "log-probabilities"
    rules = standards.rules(words)
    setting = "one-shot" if references else "zero-shot"
    return Question(
        Message("user", text, pictures),
        Wanted.of(task, rules, closed, options.follow_ups),
        {"task": task, "setting": setting, "prompt": prompt, "version": vqa.version()},
        division,
        len(pictures),
        tuple(range(len(references) + 1, len(pictures) + 1)),
        time.perf_counter() - clock,
    )


def _of_class(known: Sequence[Shown], sample: Sample) -> list[Shown]:
    """The normal ones, all of the sample's class; a class that nobody named fits any."""
    normal = [one for one in known if one.label == "normal"]
    for one in normal:
        if "object" not in (one.class_name, sample.class_name) and (
            one.class_name != sample.class_name
        ):
            raise ReferencesError(
                f"{one.id or 'A reference'} shows a {one.class_name}, and "
                f"{sample.id or 'the sample'} is a {sample.class_name}. Give normal parts of the "
                "same class, or name both alike."
            )
    return normal
