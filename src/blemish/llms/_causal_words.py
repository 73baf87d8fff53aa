"""From tokens to words: the text of an answer as it grows, and the tokens a word begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from blemish.errors import OptionError

_UNFINISHED = "�"
"""What the bytes of a character decode to before all of them are there."""


class Words:
    """The text of one answer, token by token.

    Args:
        decode: the text of some tokens.
        ends: tokens that end the answer; they are no part of it.
        stop: texts at the first of which the answer ends; they are no part of it.

    Attributes:
        text: so far, without white space around it.
        ended: one of these came, and no more tokens may.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], ends: Collection[int], stop: Sequence[str]
    ) -> None:
        self.text = ""
        self.ended = False
        self._decode = decode
        self._ends = ends
        self._stop = [words for words in stop if words]
        self._ids: list[int] = []
        self._raw = ""

    @property
    def tokens(self) -> int:
        """How many the answer has, a stop text's among them."""
        return len(self._ids)

    def add(self, token: int) -> None:
        """Take the next token."""
        if token in self._ends:
            self.ended = True
            return
        self._ids.append(token)
        self._raw = self._decode(self._ids)
        found = [place for words in self._stop if (place := self._raw.find(words)) >= 0]
        self.ended = bool(found)
        self.text = self._raw[: min(found, default=None)].strip()

    def sure(self) -> str:
        """The beginning of the text that no later token changes."""
        if self.ended:
            return self.text
        # Either may hold the other back: an unfinished character, and a stop text's beginning.
        raw = self._raw.rstrip(_UNFINISHED)
        held = max(
            (n for words in self._stop for n in range(1, len(words)) if raw.endswith(words[:n])),
            default=0,
        )
        return raw[: len(raw) - held].strip()


def first_tokens(tokenizer: Any, words: Sequence[str]) -> dict[str, list[int]]:
    """The tokens that begin each word: in small, capital and mixed letters, after a space or not.

    Tokens that are a whole word are taken; of a word that no single token spells, the first parts,
    less those that begin another of the words too.

    Raises:
        OptionError: two words cannot be told apart by their first token.
    """
    starts: dict[str, set[int]] = {}
    for word in dict.fromkeys(words):
        forms = {word, word.lower(), word.upper(), word.capitalize()}
        spelt = [
            tokenizer(lead + form, add_special_tokens=False).input_ids
            for form in forms
            for lead in ("", " ")
        ]
        # Where a tokenizer puts a space before each text, the bare word has a token all the same.
        known = {tokenizer.convert_tokens_to_ids(form) for form in forms}
        whole = {ids[0] for ids in spelt if len(ids) == 1} | known
        whole -= {None, tokenizer.unk_token_id}
        starts[word] = whole or {ids[0] for ids in spelt if ids}
    count = Counter(token for some in starts.values() for token in some)
    told = {word: sorted(t for t in some if count[t] == 1) for word, some in starts.items()}
    if bad := [word for word, some in told.items() if not some]:
        raise OptionError(
            f"The first token does not tell the words {', '.join(starts)} apart: this language "
            f"model's vocabulary has none for {bad[0]!r} alone. Choose words that begin otherwise."
        )
    return told
