"""Which of the declared a command is about: ``--target``, ``--exclude`` and ``--select``.

In: the desired portfolios and a :class:`Selection`. Out: those selected, still sorted. An id or group that does not
exist is an error: a mistyped target must never read as "no changes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.errors import UsageError
from reconciler.core.model import address_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.core.model import Desired, PortfolioId, StrategyDesired, StrategyId


class Selection(Struct, frozen=True, kw_only=True):
    """What was asked for; empty tuples mean everything. All three narrow: what is selected must pass each of them."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.targets or self.excludes or self.groups)

    def passes(self, address: str, group: str | None) -> bool:
        """Whether a portfolio or strategy passes; one without a group passes no choice of groups."""
        return (
            (not self.targets or address in self.targets)
            and address not in self.excludes
            and (not self.groups or group in self.groups)
        )


EVERYTHING = Selection()
_NO_STRATEGIES: Final[Mapping[StrategyId, StrategyDesired]] = {}


def select(
    desired: Mapping[PortfolioId, Desired],
    selection: Selection,
    strategies: Mapping[StrategyId, StrategyDesired] = _NO_STRATEGIES,
) -> Mapping[PortfolioId, Desired]:
    """Return the selected portfolios. Raises :class:`UsageError` for an id or group that is not declared.

    ``--target`` and ``--exclude`` may also name ``strategies/ID``; :func:`select_strategies` returns those.
    """
    if selection.everything:
        return desired
    names = {*desired, *map(address_of, strategies)}
    _require(selection.targets, names, "--target")
    _require(selection.excludes, names, "--exclude")
    _require(selection.groups, {one.group for one in desired.values() if one.group}, "--select group=")
    chosen = {i: one for i, one in desired.items() if selection.passes(i, one.group)}
    if not chosen and not select_strategies(strategies, selection):
        raise UsageError("the selection is empty", "No declared portfolio passes all of the given filters.")
    return chosen


def select_strategies(
    strategies: Mapping[StrategyId, StrategyDesired], selection: Selection
) -> Mapping[StrategyId, StrategyDesired]:
    """Return the selected strategies: all, unless ``--target`` names others; a group holds none."""
    return {i: one for i, one in strategies.items() if selection.passes(address_of(i), None)}


def _require(wanted: tuple[str, ...], known: Collection[str], option: str) -> None:
    for name in wanted:
        if name not in known:
            from difflib import get_close_matches

            near = get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{option} {name!r} is not declared", f"The configuration does not name it.{hint}")
