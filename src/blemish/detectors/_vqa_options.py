"""The options of `vqa`, and which task and prompt kind they mean for a sample."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from blemish.errors import InputError
from blemish.prompts import standards, vqa
from blemish.types import Sample


class VQAOptions(BaseModel):
    """Options of `vqa`.

    Attributes:
        task: one of the document's nine, by its name; "auto" goes by where the picture comes from,
            and takes "logical" where the standards are a list of rules.
        prompt: "naive", "class" (with the name of the class) or "expertise" (with the standards
            too); "auto" takes the richest for which there are words.
        references: normal pictures to show at most: with one, it is the document's one-shot
            setting, with none, or where `fit` had none, zero-shot.
        answer: "text", as the document asks, or "json", held to a schema where that can be done.
        scores: "stated": a score that the reply states, else 1, 0.5 and 0 for anomalous, hedged
            and normal; "log-probabilities": of "yes" against "no" to a closing question.
        follow_ups: further questions at most, for what is missing.
        repeats: how often to ask the whole again; scores are averaged.
        feedback: earlier findings of the same class, confirmed or rejected, told at most.
        regions: how a localisation task divides the picture, with the four options below; see
            `gpt4v-ad`.
        segments: about how many superpixels.
        compactness: of the superpixels.
        cells: of the grid, along each side.
        avoid_small: keep numbers off small regions.
        threshold: score from which a part is anomalous, where repeated answers differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: vqa.Task | Literal["auto"] = "auto"
    prompt: vqa.Prompt | Literal["auto"] = "auto"
    references: int = Field(1, ge=0, le=20)
    answer: Literal["text", "json"] = "text"
    scores: Literal["stated", "log-probabilities"] = "stated"
    follow_ups: int = Field(1, ge=0, le=5)
    repeats: int = Field(1, ge=1, le=50)
    feedback: int = Field(6, ge=0, le=50)
    regions: Literal["superpixel", "grid", "sam"] = "superpixel"
    segments: int = Field(60, ge=5, le=1000)
    compactness: float = Field(20.0, gt=0)
    cells: int = Field(16, ge=3, le=30)
    avoid_small: bool = False
    threshold: float = Field(0.5, gt=0, lt=1)

    def task_of(self, sample: Sample) -> str:
        """The task that a sample is asked about as.

        Raises:
            InputError: a localisation task, and the sample has several views.
        """
        task = self.task
        if task == "auto":
            if sample.domain == "industrial" and len(standards.rules(self.words_of(sample))) > 1:
                return "logical"
            if sample.domain == "scene":
                return "pedestrian" if len(sample.images) > 1 else "traffic"
            by_domain = {"depth": "point-cloud", "signal": "time-series"}
            return by_domain.get(sample.domain, sample.domain)
        if task.endswith("localisation") and len(sample.images) > 1:
            raise InputError(
                f"{sample.id or 'A sample'} has {len(sample.images)} views, and the task {task} "
                "marks the regions of one. Give each view as a sample of its own."
            )
        return task

    def words_of(self, sample: Sample) -> str:
        """What a normal one looks like: the sample's own standards, else those of the bank."""
        own = standards.checked(sample.standards) if sample.standards else ""
        return own or standards.standards_of(sample.class_name)

    def prompt_of(self, sample: Sample) -> str:
        """The prompt kind for a sample."""
        if self.prompt != "auto":
            return self.prompt
        if self.words_of(sample):
            return "expertise"
        return "naive" if sample.class_name == "object" else "class"
