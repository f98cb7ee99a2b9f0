"""Selections: what passes, and that what is not declared is never passed over."""

from __future__ import annotations

import pytest

from reconciler.core.errors import UsageError
from reconciler.core.fleet import EVERYTHING, Selection, select
from reconciler.core.model import Desired, PortfolioId, RunState

GROUPS = {"alpha": "core", "beta": "core", "gamma": "edge", "delta": None}
FLEET = {
    PortfolioId(name): Desired(id=PortfolioId(name), state=RunState.ACTIVE, group=group)
    for name, group in sorted(GROUPS.items())
}


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), ["alpha", "beta", "delta", "gamma"]),
        (Selection(targets=("gamma", "alpha")), ["alpha", "gamma"]),
        (Selection(excludes=("gamma", "alpha")), ["beta", "delta"]),
        (Selection(groups=("core",)), ["alpha", "beta"]),
        (Selection(groups=("edge", "core")), ["alpha", "beta", "gamma"]),
        (Selection(targets=("alpha", "gamma"), groups=("core",)), ["alpha"]),
        (Selection(excludes=("alpha",), groups=("core",)), ["beta"]),
        (Selection(targets=("alpha", "gamma"), excludes=("gamma",)), ["alpha"]),
    ],
)
def test_what_passes(selection: Selection, chosen: list[str]) -> None:
    """All three filters narrow; the order stays that of the ids."""
    found = select(FLEET, selection)
    assert list(found) == chosen
    assert all(found[portfolio] is FLEET[portfolio] for portfolio in found)


@pytest.mark.parametrize(
    ("selection", "everything"),
    [
        (EVERYTHING, True),
        (Selection(targets=("a",)), False),
        (Selection(excludes=("a",)), False),
        (Selection(groups=("a",)), False),
    ],
)
def test_everything(selection: Selection, *, everything: bool) -> None:
    """Only a selection without any filter is everything."""
    assert selection.everything is everything


@pytest.mark.parametrize(
    ("selection", "summary", "detail"),
    [
        (
            Selection(targets=("alpha", "gama")),
            "--target 'gama' is not declared",
            "Did you mean 'gamma'?",
        ),
        (
            Selection(targets=("zzz",)),
            "--target 'zzz' is not declared",
            "These are: alpha, beta, delta, gamma.",
        ),
        (
            Selection(targets=("alpha",), excludes=("bet",)),
            "--exclude 'bet' is not declared",
            "Did you mean 'beta'?",
        ),
        (
            Selection(groups=("cor",)),
            "--select group=cor: no portfolio is in that group",
            "Did you mean 'core'?",
        ),
        (
            Selection(groups=("alpha",)),
            "--select group=alpha: no portfolio is in that group",
            "Groups with portfolios: core, edge.",
        ),
        (
            Selection(targets=("alpha",), excludes=("alpha",)),
            "the selection is empty",
            "No declared portfolio passes all of the given filters.",
        ),
    ],
)
def test_what_is_refused(selection: Selection, summary: str, detail: str) -> None:
    """A name that is not declared, or nothing left, is an error with a hint, never an empty plan."""
    with pytest.raises(UsageError) as caught:
        select(FLEET, selection)
    assert (caught.value.summary, caught.value.detail) == (summary, detail)
