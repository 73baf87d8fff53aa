"""A table on a screen, in pieces that fit its width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from blemish.benchmark import table_layout as layout
from blemish.benchmark.table import Table
from blemish.benchmark.table_layout import Block

if TYPE_CHECKING:
    from rich.console import Console

FEW = 24
"""Lines of categories up to which a screen gets them."""


def show(table: Table, console: Console) -> None:
    """Print the means, and the categories where they are few."""
    from rich.table import Table as Drawn
    from rich.text import Text

    detail = layout.categories(table)
    few = sum(len(block.lines) for block in detail) <= FEW
    for block in layout.means(table) + (detail if few else []) + layout.asked(table):
        console.print(Text(block.title, "bold"))
        for piece in _pieces(block, console.width):
            drawn = Drawn(box=None, pad_edge=False, header_style="bold")
            wides = [_wide(piece, place) for place in range(len(piece.head))]
            full = sum(max(len(h), w) + 2 for h, w in zip(piece.head, wides, strict=True))
            for place, heading in enumerate(piece.head):
                side: Literal["left", "right"] = "left" if place < piece.words else "right"
                # Headings are wrapped where they have to be, figures never.
                wide = wides[place] if full > console.width else None
                drawn.add_column(Text(heading), justify=side, width=wide)
            for line in piece.lines:
                quiet = piece.words == 2 and line[1].startswith("published")
                drawn.add_row(*(Text(cell, "dim" if quiet else "") for cell in line))
            console.print(drawn)
            console.print()
    if layout.asked(table):
        console.print(layout.ASKED_LEGEND, style="dim", markup=False)
    for words in layout.prompts(table):
        console.print(f"Prompts of {words}", markup=False, soft_wrap=True)
    console.print(layout.LEGEND, style="dim", markup=False)
    if detail and not few:
        console.print("Each category's figures are in table.md.", markup=False)


def _pieces(block: Block, width: int) -> Iterator[Block]:
    """The block in parts that fit beside each other's words: cut figures would be wrong ones."""
    words = sum(_wide(block, place) + 2 for place in range(block.words))
    parts: list[list[int]] = [[]]
    used = words
    for place in range(block.words, len(block.head)):
        wide = _wide(block, place) + 2
        if parts[-1] and used + wide > width:
            parts.append([])
            used = words
        parts[-1].append(place)
        used += wide
    for part in parts:
        places = [*range(block.words), *part]
        lines = tuple(tuple(line[place] for place in places) for line in block.lines)
        yield Block(block.title, tuple(block.head[place] for place in places), lines, block.words)


def _wide(block: Block, place: int) -> int:
    """Characters that a column needs: its cells, and the longest word of its heading."""
    words = block.head[place].split() or [""]
    return max(*(len(line[place]) for line in block.lines), *map(len, words))
