"""Made-up replies through the readers of GPT-4V-AD's answers: no crash, and never a false "normal".

    python benchmarks/parser_fuzz.py 200000 [--seed N] [--show N]

Replies are put together from pieces of real ones (scores, JSON, declarations in six languages,
hedges, negations, refusals, the question itself, reasoning, Markdown) and from any characters at
all, then damaged. Each goes through the reader of regions and the reader of boxes. A reply that is
read as normal (no problem, no score above 0, no image score of 0.5 or more) must say so by the
words of `declares`, which shares no code and no data with the readers: otherwise it is a false
normal. Prints how many replies were read as what, and the slowest one; exits with 1 if there was
an exception or a false normal.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import dropwhile
from pathlib import Path

from blemish.prompts import boxes
from blemish.prompts.gpt4v_ad import Answer, parse, question

ASKED = question("metal_nut", "explicit")
REGIONS = range(1, 58)

DATA = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
PIECES = DATA["pieces"]
PIECES["around"] += [ASKED, ASKED.split(". ")[1] + "."]
WEIGHTS = {"scored": 1, "nought": 1, "denied": 4, "doubted": 2, "json": 2, "around": 3}
FILLERS, SAYING, NEGATIONS, ANOMALOUS, NORMAL = (
    frozenset(" ".join(DATA["words"][kind]).split())
    for kind in ("fillers", "saying", "negations", "anomalous", "normal")
)


def reply(draw: random.Random) -> str:
    """One made-up reply."""
    kinds = draw.choices(list(WEIGHTS), weights=list(WEIGHTS.values()), k=draw.randint(1, 6))
    text = draw.choice((" ", "", "\n", ". ")).join(draw.choice(PIECES[kind]) for kind in kinds)
    for _ in range(draw.choice((0, 0, 0, 1, 2))):
        place, length = draw.randint(0, len(text)), draw.choice((0, 1, 1, 3, 10))
        put = "".join(_character(draw) for _ in range(draw.choice((0, 1, 2))))
        text = text[:place] + put + text[place + length :]
    if draw.random() < 0.1:
        text = draw.choice((str.upper, json.dumps, str.title))(text)
    return text


def _character(draw: random.Random) -> str:
    return chr(draw.randint(*draw.choice(((9, 126), (160, 0xFFFF), (0, 0x10FFFF)))))


def read_as(answer: Answer) -> str:
    """What a reply was read as: "normal", "anomalous", or the problem."""
    if answer.problem:
        return answer.problem
    if max(0.0, answer.image_score or 0.0, *answer.scores.values()) >= 0.5:
        return "anomalous"
    return "scores below 0.5" if any(answer.scores.values()) else "normal"


READERS: dict[str, Callable[[str], Answer]] = {
    "regions": lambda text: parse(text, REGIONS, asked=ASKED),
    "boxes": lambda text: boxes.parse(text, 96, 160, asked=ASKED),
}


DECLARED = (
    r"(?<=[{,])\s*(regions|anomalous regions|anomalies)\s*:\s*(\[\s*,?\s*\]|\{\s*,?\s*\})",
    r"(?<![a-z])(image|overall)\s?(anomaly )?score[\W_]+(0?\.[0-4]\d*|0)(?!\d)(?!\s?%)",
    r"(?<![a-z])(regions?|bereich|区域)\s?\d+(\s?-\s*(region )?\d+)?([\W_]+an?)?[\W_]+"
    r"0(\.0+)?( ?%)?(?![.,]?\d)",
)
"""An empty list, a low score of the image, a score of 0."""


def declares(text: str, asked: str = ASKED) -> bool:
    """Whether a whole reply says, word for word, that nothing is anomalous, and nothing else.

    Zero scores, low image scores and empty JSON lists are such a declaration as well. What is left
    is judged sentence by sentence: each either only introduces an answer, or denies once that
    something is anomalous, or calls it normal without a denial.
    """
    text = text.rpartition("</think>")[2]
    for sentence in sorted(re.split(r"(?<=[.!?])\s+", asked), key=len, reverse=True):
        text = re.sub(r"\s+".join(map(re.escape, sentence.split())), "", text, flags=re.IGNORECASE)
    text = text.replace('\\"', '"')  # a key with nothing behind it says nothing:
    text = re.sub(r'(?<=,)\s*"[^"]*"\s*:\s*(""|null|\[\]|\{\})(?=\s*})', "", text)
    text = text.lower().replace('"region 1: 0.9; region 3: 0.7."', " ")  # an echo as well
    text = re.sub(r"\\[nrt]", "\n", text).replace("’", "'")
    text = re.sub(r"^\s*```(json|text)?\s*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\|\s*region\s*\|\s*score\s*(\|\s*)+\n", "|", text)  # a table's bare head
    text = re.sub(r"[\\*_`\"“”„«»「」『』]", "", text)
    said = 0
    for declared in DECLARED:
        text, count = re.subn(declared, "\n", text)
        said += count
    if re.search(r"[\d?]", text):
        return False
    text = re.sub(r"(?<=[{,])\s*(note|explanation)\s*:", "", text)  # what follows is judged
    for sentence in re.split(r"[.!;}\n。！；]+", text):
        words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", sentence)
        if ":" in sentence or set(words) <= FILLERS:
            words = list(dropwhile(FILLERS.__contains__, words))
        if words and not (_denies(words) or _denies_far_east("".join(words))):
            return False
        said += bool(words)
    return said > 0


def _denies(words: Sequence[str]) -> bool:
    if " ".join(words) in DATA["alone"]:
        return True
    known = NEGATIONS | ANOMALOUS | NORMAL | SAYING | {"free"}
    negations = [i for i, w in enumerate(words) if w in NEGATIONS or w == "l'y"]
    bad = [i for i, w in enumerate(words) if re.sub("^d'", "", w) in ANOMALOUS]
    if any(w not in known and re.sub("^[dn]'", "", w) not in known for w in words):
        return False
    if "free" in words:
        return not negations and bool(bad) and words.index("free") < bad[0]
    if bad:
        return len(negations) == 1 and negations[0] < bad[0] and not NORMAL & set(words)
    return bool(NORMAL & set(words)) and not negations


def _denies_far_east(text: str) -> bool:
    if re.search("[a-z]", text):
        return False
    if "異常" in text and re.search("[ぁ-ん]", text):
        return bool(re.fullmatch("異常は?(ありません|見られません|見つかりません|なし)", text))
    denials = re.findall("[没未无不非]", text)
    if bad := [found.start() for found in re.finditer("异常|缺陷", text)]:
        return len(denials) == len(bad) == 1 and denials[0] in text[: bad[0]]
    return text.endswith("正常") and not denials


@dataclass
class Tally:
    """What replies were read as, by reader, and what must not have happened."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    slowest: tuple[float, str] = (0.0, "")


def run(replies: int, seed: int) -> Tally:
    """Read so many made-up replies with both readers."""
    draw, tally = random.Random(seed), Tally()
    for _ in range(replies):
        text = reply(draw)
        for reader, read in READERS.items():
            started = time.perf_counter()
            try:
                outcome = read_as(read(text))
            except Exception as error:  # whatever it is, there should be none
                outcome = "exception"
                tally.wrong.append(f"{reader}: {type(error).__name__}: {error}: {text!r}")
            took = time.perf_counter() - started
            tally.seconds += took
            tally.slowest = max(tally.slowest, (took, text))
            if outcome == "normal" and not declares(text):
                outcome = "false normal"
                tally.wrong.append(f"{reader}: false normal: {text!r}")
            tally.counts[reader][outcome] += 1
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("replies", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=10, help="how many of the wrong ones to print")
    options = parser.parse_args()
    tally = run(options.replies, options.seed)
    for reader, count in tally.counts.items():
        print(f"{reader}: " + ", ".join(f"{n:,} {name}" for name, n in count.most_common()))
    took, text = tally.slowest
    print(f"{tally.seconds:.1f} s; the slowest took {1000 * took:.1f} ms ({len(text)} characters)")
    print("\n".join([*tally.wrong[: options.show], f"{len(tally.wrong)} wrong"]))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
