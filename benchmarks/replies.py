"""How many replies are understood, of those that arXiv 2311.02782 prints and of a hold-out.

    python benchmarks/replies.py PAPER.md
    python benchmarks/replies.py held-out

The hold-out is replies_held_out.json: 80 replies with their truth, written for this project by
somebody who did not know the reader, and not looked at while it was made. Whoever mends the reader
by them has to write another one.

PAPER.md is the document's text as Markdown: a reply stands under a heading "GPT-4V", the question
under "Language Prompt" or "Prompt" before it, and the figure's caption after its replies. What a
careful reader takes from each reply stands in replies_001.json, by figure and in the order of the
replies; it was written down before the reader existed. Replies that are misread are named by figure
and position. No reply is printed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from blemish.prompts.vqa_answer import Reading, read

EXPECTED = Path(__file__).with_name("replies_001.json")
HELD_OUT = Path(__file__).with_name("replies_held_out.json")
REPRINTED = {15: 11, 16: 12}
"""Figures that print the replies of another one again."""
LOCALISATION = {8, 9, 10, 29, 30, 31, 32}
"""Figures in which the same image is shown twice, the second time with numbered marks."""
PEDESTRIANS = {33}
"""Figures with two frames, both of which are judged."""
VERDICTS = ("normal", "anomalous", "unsure")

_HEADING = re.compile(r"#+\s*\**(?P<text>.*?)\**\s*")
_CAPTION = re.compile(r"\**\s*Figure (?P<number>\d+)\s*\|.*")


@dataclass(frozen=True)
class Printed:
    """A reply as it is printed."""

    figure: int
    position: int
    asked: str
    one_shot: bool
    text: str


def printed(paper: str) -> list[Printed]:
    """The replies of a paper, by figure and in order."""
    found: list[Printed] = []
    waiting: list[tuple[str, bool, str]] = []
    heading, asked, one_shot = "", "", False
    lines: list[str] = []
    for line in [*paper.splitlines(), "# end"]:
        title, caption = _HEADING.fullmatch(line), _CAPTION.match(line.strip())
        if not title and not caption:
            lines.append("" if line.startswith("![") else line)
            continue
        text = "\n".join(lines).strip()
        lines = []
        if heading == "GPT-4V" and text:
            waiting.append((asked, one_shot, text))
        elif heading in ("Language Prompt", "Prompt"):
            asked = text
        if caption:
            number = int(caption["number"])
            found += [Printed(number, i, *each) for i, each in enumerate(waiting, 1)]
            waiting, one_shot, heading = [], False, ""
        elif title:
            heading = title["text"]
            if re.search("(zero|one)-shot", heading, re.IGNORECASE):
                one_shot = "one-shot" in heading.lower()
    return found


def reading(reply: Printed) -> Reading:
    """A reply as the reader takes it."""
    if reply.figure in LOCALISATION:
        marks = range(1, 21)
        return read(reply.text, asked=reply.asked, marks=marks, images=2, judged=(1, 2))
    if reply.figure in PEDESTRIANS:
        return read(reply.text, asked=reply.asked, images=2, judged=(1, 2))
    if reply.one_shot:
        return read(reply.text, asked=reply.asked, images=2, judged=(2,))
    return read(reply.text, asked=reply.asked)


def held_out() -> None:
    """Print how many replies of the hold-out are understood."""
    table: Counter[tuple[str, str]] = Counter()
    reasons = 0
    entries = json.loads(HELD_OUT.read_text("utf-8"))
    for entry in entries:
        asked = {name: entry[name] for name in ("asked", "ended", "marks", "images", "judged")}
        found = read(entry["reply"], **asked)
        table[entry["verdict"], found.verdict] += 1
        reasons += (found.verdict, found.reason) == (entry["verdict"], entry["reason"])
    show(table)
    print(f"\nverdict, and reason where unsure: {reasons} of {len(entries)}")


def show(table: Counter[tuple[str, str]]) -> None:
    """Print how many are understood, and as what the others are read."""
    right = sum(table[verdict, verdict] for verdict in VERDICTS)
    print(f"verdicts understood: {right} of {table.total()}\n")
    print("| written down | read: normal | anomalous | unsure |\n|---|---|---|---|")
    for wanted in VERDICTS:
        print(f"| {wanted} | {' | '.join(str(table[wanted, got]) for got in VERDICTS)} |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("paper", help='the document\'s text, Markdown; or "held-out"')
    source = parser.parse_args().paper
    if source == "held-out":
        return held_out()
    replies = printed(Path(source).read_text("utf-8"))
    expected: dict[str, list[str]] = json.loads(EXPECTED.read_text("utf-8"))
    counts = Counter(reply.figure for reply in replies)
    if counts != {int(figure): len(verdicts) for figure, verdicts in expected.items()}:
        raise SystemExit(
            f"Found {len(replies)} replies, by figure {dict(counts)}; expected others."
        )
    table: Counter[tuple[str, str]] = Counter()
    distinct, failures = Counter[bool](), []
    for reply in replies:
        wanted = expected[str(reply.figure)][reply.position - 1]
        answer = reading(reply)
        table[wanted, answer.verdict] += 1
        if reply.figure not in REPRINTED:
            distinct[wanted == answer.verdict] += 1
        if wanted != answer.verdict:
            place = f"figure {reply.figure}, reply {reply.position}"
            failures.append(f"| {place} | {wanted} | {answer.verdict} | {answer.reason} |")
    show(table)
    print(f"\nof those printed once: {distinct[True]} of {distinct.total()}")
    print("\n| misread | written down | read | reason |\n|---|---|---|---|")
    print("\n".join(failures))


if __name__ == "__main__":
    main()
