"""Messages as the chat completions interface takes them, images as data URLs."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import PIL.Image

from blemish.errors import InputError
from blemish.images import resize
from blemish.types import Image, Message

_SAVE: dict[str, dict[str, int]] = {
    # Level 2 takes a fifth of the default's time, for a seventh more bytes.
    "png": {"compress_level": 2},
    # Small defects are what matters, so that no colour is averaged over its neighbours.
    "jpeg": {"quality": 95, "subsampling": 0},
}


@dataclass(frozen=True)
class Pictures:
    """How images are sent.

    Attributes:
        detail: what the endpoint is asked for: "auto", "low", "high" or "original".
        side: the longer side in pixels at most; None for the image's own size.
        format: "png" or "jpeg".
    """

    detail: str
    side: int | None
    format: Literal["png", "jpeg"]

    def message(self, message: Message) -> tuple[dict[str, Any], list[tuple[int, int]]]:
        """One message, and (width, height) in pixels of each of its images as sent."""
        # A folder's name that is no UTF-8 may have become a class name, and JSON cannot hold it.
        text = message.text.encode("utf-8", "replace").decode("utf-8")
        if not message.images:
            # Text-only servers take a string, not a list of parts.
            return {"role": message.role, "content": text}, []
        if message.role != "user":
            raise InputError(
                f"A message of role {message.role!r} with images came; endpoints take images from "
                "the user only."
            )
        images = [self._scaled(image) for image in message.images]
        parts: list[dict[str, Any]] = [
            {
                "type": "image_url",
                "image_url": {"url": data_url(image, self.format), "detail": self.detail},
            }
            for image in images
        ]
        parts.append({"type": "text", "text": text})
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        return {"role": message.role, "content": parts}, sizes

    def _scaled(self, image: Image) -> Image:
        height, width = image.shape[:2]
        longer = max(height, width)
        if self.side is None or longer <= self.side:
            return image
        scale = self.side / longer
        return resize(image, max(1, round(height * scale)), max(1, round(width * scale)))


def data_url(image: Image, format: Literal["png", "jpeg"]) -> str:
    """An image as `data:image/png;base64,...` or `data:image/jpeg;base64,...`.

    Args:
        image: (H, W, 3) uint8 RGB.
        format: "png", which keeps every pixel, or "jpeg".
    """
    held = io.BytesIO()
    PIL.Image.fromarray(image).save(held, format.upper(), **_SAVE[format])
    return f"data:image/{format};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
