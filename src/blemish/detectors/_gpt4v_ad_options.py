"""The options of GPT-4V-AD, and which of them do not go together."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from blemish.errors import OptionError
from blemish.prompts import gpt4v_ad as prompts
from blemish.regions import preprocessing


class GPT4VADOptions(BaseModel):
    """Options of `gpt4v-ad`; the defaults are the document's.

    Attributes:
        regions: how the picture is divided: superpixels; a grid; masks of a segmenter; or not at
            all, and the model names boxes (the document's first attempt, figure 2).
        segments: about how many superpixels.
        compactness: of the superpixels; higher is squarer.
        cells: of the grid, along each side.
        preprocessing: what is done to every picture before its marks are drawn: "none", or another
            variant of regions/preprocessing.json; the picture is divided as it came.
        avoid_small: keep numbers off regions that they would hide too much of.
        prompt: the wording: "document", or another one of prompts/gpt4v_ad.json; "json" holds the
            model to a schema where it can be held to one.
        image_score: ask for a score of the image as well, as the published script does.
        scores: "written", or "log-probabilities": expected values over the digits that the model
            weighed; where it does not tell, the written ones, and the evidence says so.
        references: how many normal pictures to show for comparison (the document tried two).
        examples: how many labelled anomalous pictures to show.
        heat: what `map_source` adds to the question: nothing; its heat map as a further picture; or
            its regions in place of a division.
        repeats: how often to ask about each view; scores are averaged, the spread is evidence.
        threshold: written score from which a part is anomalous.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    regions: Literal["superpixel", "grid", "sam", "boxes"] = "superpixel"
    segments: int = Field(60, ge=5, le=1000)
    compactness: float = Field(20.0, gt=0)
    cells: int = Field(16, ge=3, le=30)
    preprocessing: str = "none"
    avoid_small: bool = False
    prompt: str = "document"
    image_score: bool = False
    scores: Literal["written", "log-probabilities"] = "written"
    references: int = Field(0, ge=0, le=20)
    examples: int = Field(0, ge=0, le=20)
    heat: Literal["none", "image", "regions"] = "none"
    repeats: int = Field(1, ge=1, le=50)
    threshold: float = Field(0.5, gt=0, lt=1)

    @property
    def asks(self) -> prompts.Asks:
        """What the wording has to ask for."""
        if self.regions == "boxes":
            return "boxes"
        return "image and regions" if self.image_score else "regions"

    def check(self) -> None:
        """Raise OptionError where a name is unknown, or an option has nothing to act on."""
        prompts.wording(self.prompt, self.asks)
        preprocessing.steps(self.preprocessing)
        if self.regions != "boxes":
            return
        idle = {
            "image_score": self.image_score,
            "scores": self.scores != "written",
            "repeats": self.repeats > 1,
            "avoid_small": self.avoid_small,
            "heat": self.heat == "regions",
        }
        for name in (name for name, given in idle.items() if given):
            raise OptionError(
                f"regions='boxes' marks and scores no regions, so {name}={getattr(self, name)!r} "
                f"has nothing to act on. Leave {name} away."
            )
