"""Which of the declared portfolios a command is about: ``--target``, ``--exclude`` and ``--select``.

In: the desired portfolios and a :class:`Selection`. Out: those selected, still sorted. An id or group that does not
exist is an error: a mistyped target must never read as "no changes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.desired import Desired, PortfolioId


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was asked for; empty tuples mean everything. All three narrow: a portfolio must pass each of them."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.targets or self.excludes or self.groups)


EVERYTHING = Selection()


def select(desired: Mapping[PortfolioId, Desired], selection: Selection) -> Mapping[PortfolioId, Desired]:
    """Return the selected portfolios. Raises :class:`UsageError` for an id or group that is not declared."""
    if selection.everything:
        return desired
    _require(selection.targets, desired, "--target")
    _require(selection.excludes, desired, "--exclude")
    _require(selection.groups, {d.group for d in desired.values() if d.group}, "--select group=")
    chosen = {
        portfolio: declared
        for portfolio, declared in desired.items()
        if (not selection.targets or portfolio in selection.targets)
        and portfolio not in selection.excludes
        and (not selection.groups or declared.group in selection.groups)
    }
    if not chosen:
        raise UsageError("the selection is empty", "No declared portfolio passes all of the given filters.")
    return chosen


def _require(wanted: tuple[str, ...], known: Iterable[str], option: str) -> None:
    names = set(known)
    for name in wanted:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{option} {name!r} is not declared", f"The configuration does not name it.{hint}")
