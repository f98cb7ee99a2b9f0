"""Which of the declared portfolios and strategies a command is about: ``--target``, ``--exclude`` and ``--select``.

In: the desired portfolios and a :class:`Selection`. Out: those selected, still sorted. An id or group that does not
exist is an error: a mistyped target must never read as "no changes".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.errors import UsageError
from reconciler.core.strategy import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.core.desired import Desired, PortfolioId
    from reconciler.core.strategy import StrategyDesired, StrategyId


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What was asked for; empty tuples mean everything. All three narrow: what is selected must pass each of them."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.targets or self.excludes or self.groups)


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
    _require(selection.groups, {d.group for d in desired.values() if d.group}, "--select group=")
    chosen = {
        portfolio: declared
        for portfolio, declared in desired.items()
        if (not selection.targets or portfolio in selection.targets)
        and portfolio not in selection.excludes
        and (not selection.groups or declared.group in selection.groups)
    }
    if not chosen and not select_strategies(strategies, selection):
        raise UsageError("the selection is empty", "No declared portfolio passes all of the given filters.")
    return chosen


def select_strategies(
    strategies: Mapping[StrategyId, StrategyDesired], selection: Selection
) -> Mapping[StrategyId, StrategyDesired]:
    """Return the selected strategies: all, unless ``--target`` names others; a group holds none."""
    if selection.groups:
        return {}
    return {
        strategy: declared
        for strategy, declared in strategies.items()
        if (not selection.targets or address_of(strategy) in selection.targets)
        and address_of(strategy) not in selection.excludes
    }


def _require(wanted: tuple[str, ...], known: Iterable[str], option: str) -> None:
    names = set(known)
    for name in wanted:
        if name not in names:
            from difflib import get_close_matches

            near = get_close_matches(name, names, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"{option} {name!r} is not declared", f"The configuration does not name it.{hint}")
