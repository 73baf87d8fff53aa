"""Samples through a detector, so that one that cannot be judged harms no other."""

from __future__ import annotations

from collections.abc import Sequence

from blemish.errors import (
    AccessError,
    BudgetError,
    MissingExtraError,
    OptionError,
    OutputError,
    ReferencesError,
    SavedError,
    WeightsError,
)
from blemish.runs import reading
from blemish.types import Detector, Failure, Inspection, Sample

HOPELESS = (
    AccessError,
    BudgetError,
    MissingExtraError,
    OptionError,
    OutputError,
    ReferencesError,
    SavedError,
    WeightsError,
)
"""Errors that every other picture would meet as well."""


def judged(detector: Detector, samples: Sequence[Sample]) -> list[Inspection | Failure]:
    """Predict; where a batch fails, its samples one by one, so that only the culprit fails."""
    if not samples:
        return []
    try:
        found = detector.predict(samples)
        if [result.id for result in found] != [sample.id for sample in samples]:
            raise RuntimeError(f"{detector.name} gave results that do not belong to its samples")
        return list(found)
    except HOPELESS:
        raise
    except Exception as error:
        # Too little memory comes here as well: one picture is the smallest batch.
        if len(samples) > 1:
            return [result for sample in samples for result in judged(detector, [sample])]
        height, width = samples[0].image.shape[:2]
        return [reading.failure(samples[0].id, error, f"{width} x {height} pixels")]
