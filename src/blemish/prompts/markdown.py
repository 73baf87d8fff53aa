"""What a reply says once its Markdown is taken off, tables included."""

from __future__ import annotations

import re

_FENCED = "json[0-9a-z]*|text|txt|plaintext|markdown|md|yaml|csv|python|xml|html"
_QUOTES = str.maketrans("", "", '"“”„«»「」『』`')


def plain(text: str) -> str:
    """The reply without Markdown and quotation marks, small letters, one space at a time."""
    text = re.sub(rf"^[ \t]*```(?:{_FENCED})?[ \t]*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\*\*|__|^[ \t]*(?:#+|>|[-*•][ \t])[ \t]*", "", text, flags=re.MULTILINE)
    text = re.sub(r"(?<!\w)\*|\*(?!\w)", "", text.translate(_QUOTES).replace("\\n", "\n"))
    return re.sub(r"[ \t\r\f\v]+", " ", text).lower().strip()


def without_tables(text: str, key: str, value: str) -> str:
    r"""A plain text in which rows of a table with two such columns read "key cell: value cell".

    What stands in the other columns comes behind it, in a line of its own.

    Args:
        text: as `plain` gives it.
        key: regular expression of the head of one column.
        value: regular expression of the head of another.

    >>> without_tables("so:\n| no. | score |\n|---|:-:|\n| 3 | 0.7 |", "no.", "score")
    'so:\nno. 3: 0.7'
    >>> without_tables("| why | no. | score |\n|-|-|-|\n| dark | 3 | 0.7 |", "no.", "score")
    'why\nno. 3: 0.7\ndark'
    """
    lines: list[str] = []
    columns: tuple[int, int] | None = None
    head = ""
    for line in text.split("\n"):
        cells = [c.strip() for c in line.strip().strip("|").split("|")]
        if len(cells) < 2:
            columns = None
        elif columns is None:
            keys = [i for i, c in enumerate(cells) if re.fullmatch(key, c)]
            values = [i for i, c in enumerate(cells) if re.fullmatch(value, c)]
            if len(keys) == len(values) == 1:
                columns, head = (keys[0], values[0]), cells[keys[0]]
                lines += _others(cells, columns)
                continue
        elif all(re.fullmatch(r":?-+:?", c) for c in cells):
            continue
        elif max(columns) < len(cells):
            name = cells[columns[0]]
            name = name if re.match(key, name) else f"{head} {name}"
            lines += [f"{name}: {cells[columns[1]]}", *_others(cells, columns)]
            continue
        lines.append(line)
    return "\n".join(lines)


def _others(cells: list[str], columns: tuple[int, int]) -> list[str]:
    return [cell for i, cell in enumerate(cells) if cell and i not in columns]
