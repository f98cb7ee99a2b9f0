"""Make text from outside harmless: the first of two lines of defence, at the edge where it comes in.

Server strings are hostile until proven otherwise. Whatever could move a cursor, hide or reorder text becomes a
visible escape here, once; each renderer then escapes again for its own sink (terminal, Markdown).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

LONGEST_TEXT: Final = 500
"""Characters kept of one server string; the service's own are far shorter."""
LONGEST_LABEL: Final = 200
"""Characters of a name, a reason or an account in the files."""

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that print nothing or steer the printer: controls, bidi and zero-width formats, lone
surrogates, private use, unassigned, line and paragraph separators."""


def harmless(text: str, *, longest: int = LONGEST_TEXT) -> str:
    """Return ``text`` with every invisible or steering character as ``\\u{…}``, cut to ``longest`` characters."""
    cut = text if len(text) <= longest else text[: longest - 1] + "…"
    if cut.isascii() and cut.isprintable():
        return cut
    return "".join(f"\\u{{{ord(c):x}}}" if unicodedata.category(c) in _INVISIBLE else c for c in cut)


def label(text: str, *, unlike: str = "") -> str | None:
    """Return text from the service as the files hold a name, a reason or an account: one line of 200 characters.

    ``None`` where nothing visible is left, or no more than ``unlike``: a name that is the id tells nothing.
    """
    kept = harmless(text).strip()  # escapes make it longer, so it is cut behind them
    if not kept or kept == unlike:
        return None
    return kept if len(kept) <= LONGEST_LABEL else kept[: LONGEST_LABEL - 1] + "…"


def holds_token(text: str, token: str) -> bool:
    """Whether a token, of hexadecimal digits, stands in a text, and not as a part of a longer number."""
    return re.search(rf"(?<![0-9a-f]){re.escape(token)}(?![0-9a-f])", text) is not None


def plural(count: int, noun: str) -> str:
    """Return ``1 portfolio`` or ``3 portfolios``; ``3 strategies`` of a strategy."""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun.removesuffix('y')}ies" if noun.endswith("gy") else f"{count} {noun}s"
