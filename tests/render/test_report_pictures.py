"""The pictures of `load` and `report` show what these commands make: it is made anew here, and compared by its digest.

`make pictures` draws one that has changed, where there is a Chromium.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.core.load import by_word, live_runs, load_of
from reconciler.render.load import load_page
from reconciler.render.report import report_html
from reconciler.render.terminal import Style, terminal
from tests.action import pictures
from tests.render.test_render_report import fleet
from tests.support import NOON_MS

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGES = Path(__file__).parents[2] / "docs/images"
AGAIN = "where a Chromium is: make pictures"


@pytest.fixture
def kept(pytestconfig: pytest.Config) -> Callable[[str, str, Callable[[Path], None]], None]:
    """Return what compares a text with the one that a picture shows, or has it drawn anew."""

    def keep(name: str, text: str, draw: Callable[[Path], None]) -> None:
        picture = IMAGES / f"{name}.png"
        stale = not picture.exists() or pictures.digest_in(picture) != pictures.digest(text)
        if stale and pytestconfig.getoption("renew") and pictures.browser():
            draw(picture)
        assert picture.exists(), AGAIN
        assert pictures.digest_in(picture) == pictures.digest(text), AGAIN

    return keep


def test_the_picture_of_the_report(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """The top of a page of 250 portfolios."""
    page = report_html(fleet(250))
    text = re.sub(r"glider-reconciler \d[\w.]*", "glider-reconciler", page)
    kept("report", text, lambda picture: pictures.shoot(page, picture, text, size=(1180, 1500)))


def test_the_picture_of_the_load(kept: Callable[[str, str, Callable[[Path], None]], None]) -> None:
    """The same fleet by hour and by group, as a terminal shows it."""
    whole = fleet(250)
    runs = live_runs(whole.live, whole.records)
    parts = by_word(runs, whole.desired, "group", from_ms=NOON_MS)
    page = load_page(load_of(runs.values(), from_ms=NOON_MS), parts, by="group", unread=0)
    text = f"```text\n{terminal(page, Style(columns=96), verbose=False)}```\n"
    kept("load", text, lambda picture: pictures.draw(text, picture, by="<b>$ reconciler load --by group</b>"))
