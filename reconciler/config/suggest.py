"""The nearest known word to one that is not known, for "did you mean".

In: a word and the known ones. Out: one of them, or nothing. Bounded: ten thousand unknown words must not cost ten
thousand searches. difflib is imported at the first search, so that a good configuration never pays for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_SEARCHES: Final = 200
_MOST_CANDIDATES: Final = 500
_LONGEST_WORD: Final = 128
_LENGTHS_APART: Final = 4


class Suggestions:
    """Remembers what was asked; gives up after :data:`_MOST_SEARCHES` different questions."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, str], str | None] = {}

    def closest(self, word: str, known: Iterable[str], *, kind: str) -> str | None:
        """Return the known word that ``word`` is most likely a slip of; ``kind`` names the set of known words."""
        question = (kind, word)
        if question not in self._answers:
            if len(self._answers) >= _MOST_SEARCHES or len(word) > _LONGEST_WORD:
                return None
            self._answers[question] = _search(word, known)
        return self._answers[question]


def _search(word: str, known: Iterable[str]) -> str | None:
    from difflib import get_close_matches
    from itertools import islice

    near = (candidate for candidate in known if abs(len(candidate) - len(word)) <= _LENGTHS_APART)
    found = get_close_matches(word.lower(), islice(near, _MOST_CANDIDATES), n=1, cutoff=0.65)
    return found[0] if found else None
