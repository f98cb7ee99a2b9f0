"""What nobody declared: counted, named up to ten, whole in Markdown, and never claimed where it is not known."""

from __future__ import annotations

import pytest

from reconciler.core.fleet import EVERYTHING, Listing, Unmanaged
from reconciler.core.model import PortfolioId, Status
from reconciler.core.plan import Plan
from reconciler.render.markdown import markdown
from reconciler.render.plan import plan_page
from reconciler.render.terminal import PLAIN, terminal


def plan_with(count: int, listing: Listing = Listing.COMPLETE) -> Plan:
    return Plan(
        base_url="https://api.glider.fi",
        created_ms=0,
        config_digest="",
        config_files=("automation.yaml",),
        selection=EVERYTHING,
        listing=listing,
        unmanaged=tuple(
            Unmanaged(
                id=PortfolioId(f"z{number:02}"),
                name="@maria <b>|\x1b[31m",
                status=Status.NO_SCHEDULE,
                strategy="S1" if number else None,
            )
            for number in range(count)
        ),
    )


def test_text_names_ten() -> None:
    """Under the plan, above its last line; the rest with -v."""
    text = terminal(plan_page(plan_with(12)), PLAIN)
    assert "12 portfolios on v2 are not declared, and left alone.\n  z00  " in text
    assert "no schedule  strategy S1" in text
    assert "… and 2 more; -v lists them\n\nPlan: 0 to start" in text
    assert "\x1b" not in text
    assert "z11" not in text
    assert "z11" in terminal(plan_page(plan_with(12)), PLAIN, verbose=True)
    assert "1 portfolio on v2 is not declared, and left alone." in terminal(plan_page(plan_with(1)), PLAIN)


def test_markdown_folds_them_all() -> None:
    """Names are data, and stay data."""
    page = markdown(plan_page(plan_with(12)))
    assert "On v2, not declared, left alone</b> (12)" in page
    assert "z11" in page
    assert "<b>|" not in page
    assert "@maria" not in page


@pytest.mark.parametrize(
    "render", [lambda plan: terminal(plan_page(plan), PLAIN), lambda plan: markdown(plan_page(plan))]
)
def test_what_is_not_known_is_said(render: object) -> None:
    """An incomplete list is named; where nobody asked, or there are none, there is no word of it."""
    assert callable(render)
    assert "Unmanaged portfolios are not known" in render(plan_with(0, Listing.INCOMPLETE))
    for quiet in (plan_with(0), plan_with(0, Listing.NONE)):
        assert "not declared" not in render(quiet)
        assert "Unmanaged" not in render(quiet)
