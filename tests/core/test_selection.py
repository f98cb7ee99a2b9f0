"""Selections: what passes, and that what is not declared is never passed over."""

from __future__ import annotations

import pytest

from reconciler.core.errors import UsageError
from reconciler.core.fleet import EVERYTHING, Selection, select, selection_of
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


LABELLED = {
    PortfolioId(name): Desired(
        id=PortfolioId(name), state=RunState.ACTIVE, group=group, name=called, labels={} if labels is None else labels
    )
    for name, group, called, labels in (
        ("a", "core", "Growth index", {"team": "fx", "tier": "1"}),
        ("b", "core", "Growth plus", {"team": "fx", "tier": "3"}),
        ("c", "edge", "Income", {"team": "ops"}),
        ("d", None, None, None),
    )
}


@pytest.mark.parametrize(
    ("selects", "chosen"),
    [
        (("team=fx",), "ab"),
        (("team=fx", "team=ops"), "abc"),
        (("team=fx", "tier=1"), "a"),
        (("tier!=3",), "acd"),
        (("tier!=3", "tier!=1"), "cd"),
        (("team=fx", "tier!=3"), "a"),
        (("tier=1", "tier=3", "tier!=3"), "a"),
        (("name=Growth*",), "ab"),
        (("name=?ncome", "name=Growth plus"), "bc"),
        (("name!=Growth*",), "cd"),
        (("group=core", "group=edge"), "abc"),
        (("group=core", "tier!=3"), "a"),
        (("group!=core",), "cd"),
        (("group=core", "name=*plus"), "b"),
    ],
)
def test_what_conditions_choose(selects: tuple[str, ...], chosen: str) -> None:
    """Conditions with the same key mean any of them, different keys all of them, and those with != all hold."""
    assert "".join(select(LABELLED, selection_of(selects))) == chosen


@pytest.mark.parametrize(
    ("selects", "summary", "detail"),
    [
        (
            ("teem=fx",),
            "--select teem=fx: no portfolio has the label `teem`",
            "Did you mean 'team'?",
        ),
        (("grup=core",), "--select grup=core: no portfolio has the label `grup`", "Did you mean 'group'?"),
        (("Name=x",), "--select Name=x: no portfolio has the label `Name`", "Did you mean 'name'?"),
        (("owner=x",), "--select owner=x: no portfolio has the label `owner`", "Labels: team, tier."),
        (
            ("team=fxx",),
            "--select team=fxx: no portfolio has that `team`",
            "Did you mean 'fx'?",
        ),
        (("tier!=4",), "--select tier!=4: no portfolio has that `tier`", "Values of `tier`: 1, 3."),
        (
            ("name=growth*",),
            "--select name=growth*: no portfolio has such a name",
            "Names: Growth index, Growth plus, Income.",
        ),
        (
            ("group!=cor",),
            "--select group!=cor: no portfolio is in that group",
            "Did you mean 'core'?",
        ),
        (("group=edge", "team=fx"), "the selection is empty", "No declared portfolio passes all of the given filters."),
    ],
)
def test_a_condition_that_fits_nothing(selects: tuple[str, ...], summary: str, detail: str) -> None:
    """It is an error also with !=, which was meant to leave something out."""
    with pytest.raises(UsageError) as caught:
        select(LABELLED, selection_of(selects))
    assert (caught.value.summary, caught.value.detail) == (summary, detail)


@pytest.mark.parametrize("text", ["", "team", "=fx", "team=", "!=fx", "team==fx", "a b=c", "team!fx"])
def test_what_is_no_condition(text: str) -> None:
    """It is refused, and its form said."""
    with pytest.raises(ValueError, match="is not of the form group=NAME, LABEL=VALUE"):
        selection_of([text])
