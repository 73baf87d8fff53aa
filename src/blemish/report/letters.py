"""The letters of everything that is drawn, and how text breaks into lines."""

from __future__ import annotations

from functools import cache

from PIL import ImageFont


def wrapped(text: str, letters: ImageFont.FreeTypeFont, wide: float) -> list[str]:
    """Text in lines that fit; a word that is too long is cut short with dots."""
    lines: list[str] = []
    for word in text.split():
        while letters.getlength(word) > wide:
            word = word.rstrip("…")[:-1] + "…"
        if lines and letters.getlength(f"{lines[-1]} {word}") <= wide:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The font of everything that is drawn; it comes with Pillow."""
    letters = ImageFont.load_default(size=size)
    assert isinstance(letters, ImageFont.FreeTypeFont)
    return letters
