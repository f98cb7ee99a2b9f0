"""Shares of a fleet: which of several machines reads which portfolio, so that none of them has to read all.

In: what the command line and the environment say about the share, and a portfolio's id. Out: :class:`Shard`. The share
of a portfolio follows from its id alone, so it is the same on every machine, whatever else is declared or selected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

from msgspec import Meta, Struct

from reconciler.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.core.model import ApiVersion, PortfolioId

MOST_SHARES: Final = 10_000
FIRST: Final = 1
"""The share that reads what one call returns for many: the list of portfolios, everything in it, and the strategies."""
KUBERNETES_INDEX: Final = "JOB_COMPLETION_INDEX"
"""What Kubernetes tells each pod of an Indexed Job; it counts from 0."""
CI_INDEX, CI_TOTAL = "CI_NODE_INDEX", "CI_NODE_TOTAL"
"""What GitLab tells each job of ``parallel: N``; the index counts from 1."""
_SHARD: Final = re.compile(r"([0-9]{1,6}|auto)/([0-9]{1,6})", re.ASCII)

ShareNumber = Annotated[int, Meta(ge=1, le=MOST_SHARES)]


class Shard(Struct, frozen=True):
    """Share ``number`` of ``of`` shares, counted from 1. Written ``3/8``."""

    number: ShareNumber
    of: ShareNumber

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{self.number}/{self.of}"

    def owns(self, portfolio: PortfolioId, api: ApiVersion) -> bool:
        """Whether this share reads a portfolio that is declared with this version of the API."""
        return share_of(portfolio, api, of=self.of) == self.number

    @property
    def is_first(self) -> bool:
        """Whether this share reads the list and the strategies."""
        return self.number == FIRST


WHOLE: Final = Shard(1, 1)
"""The only share of a fleet that is not shared out."""


def share_of(portfolio: PortfolioId, api: ApiVersion, *, of: int) -> int:
    """Return which of ``of`` shares reads a portfolio: the first if its API lists many at once, else by its hash."""
    if of == 1 or api.can.lists:
        return FIRST
    from hashlib import sha256

    return int.from_bytes(sha256(portfolio.encode()).digest()[:8]) % of + 1


def parse_shard(text: str, environ: Mapping[str, str]) -> Shard:
    """Return the share that ``I/N``, ``auto/N`` or ``auto`` means where these variables are set.

    ``auto/N`` asks Kubernetes for the number, ``auto`` asks GitLab for both. Raises :class:`UsageError`.
    """
    if text == "auto":
        return _checked(text, _number(text, CI_INDEX, environ), _number(text, CI_TOTAL, environ))
    found = _SHARD.fullmatch(text)
    if found is None:
        raise UsageError(f"Invalid value for --shard: {text!r}.", "Write 3/8, auto/8 (Kubernetes) or auto (GitLab).")
    if found[1] == "auto":
        return _checked(text, _number(text, KUBERNETES_INDEX, environ) + 1, int(found[2]))
    return _checked(text, int(found[1]), int(found[2]))


def _number(text: str, name: str, environ: Mapping[str, str]) -> int:
    value = environ.get(name, "")
    if not (value.isascii() and value.isdigit() and len(value) < 7):
        said = f"is {value!r}" if value else "is not set"
        raise UsageError(f"--shard {text} takes its number from {name}, which {said}", "Write the share as 3/8.")
    return int(value)


def _checked(text: str, number: int, of: int) -> Shard:
    if not 1 <= number <= of <= MOST_SHARES:
        raise UsageError(
            f"Invalid value for --shard: {text} means share {number} of {of}.",
            f"Shares count from 1 to N, and N is at most {MOST_SHARES:,}.",
        )
    return Shard(number, of)
