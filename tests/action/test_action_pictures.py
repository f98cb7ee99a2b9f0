"""The pictures of the CI guide show what the action writes: beside each stands its Markdown, which is made anew here.

`--renew` writes the Markdown of one that has changed, and draws it where there is a Chromium.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from msgspec.structs import replace

from reconciler.core.change import Risk
from reconciler.core.errors import ExitReason
from reconciler.core.fleet import EVERYTHING
from reconciler.core.model import Layered, Origin, Verb
from reconciler.core.plan import Plan
from reconciler.core.planfile import fingerprint
from reconciler.render.ending import Ending, Found
from reconciler.render.github import ActionRun, comment_body
from tests.action import events, pictures
from tests.action.conftest import ROOT
from tests.action.test_action_posts import there
from tests.action.values import Status
from tests.endings import NOON_MS, change, plan_of
from tests.github.fake import FakeGitHub, serving
from tests.golden import settled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.action.conftest import Checkout

IMAGES = ROOT / "docs/images"
COMMENT = "<b>github-actions</b> <i>bot</i> commented"
SUMMARY = "<b>apply</b> summary"
COMMIT = "3f6c2a9be4d178355f1c09a7b2e4d6c8a0b1c2d3"
EVENT = events.pull_request(head=COMMIT).having(run_number="214", run_id="18273645")


@pytest.fixture
def kept(pytestconfig: pytest.Config) -> Callable[[str, str, str], None]:
    """Return what compares a page with the one that a picture shows, or draws it anew."""

    def keep(name: str, text: str, by: str) -> None:
        page, picture = IMAGES / f"{name}.md", IMAGES / f"{name}.png"
        old = page.read_text(encoding="utf-8") if page.exists() else ""
        stale = _settled(old) != _settled(text) or pictures.digest_in(picture) != pictures.digest(old)
        if pytestconfig.getoption("renew") and stale and pictures.browser():
            page.write_text(text, encoding="utf-8")
            pictures.draw(text, picture, by=by)
            return
        again = "where a Chromium is: pytest tests/action/test_action_pictures.py --renew"
        assert _settled(old) == _settled(text), again
        assert pictures.digest_in(picture) == pictures.digest(old), again

    return keep


def _settled(text: str) -> str:
    """Return a page without what differs from run to run."""
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", settled(text))


def example(name: str) -> dict[str, Any]:
    """Return a file of the quickstart."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "examples/quickstart" / name).read_text(encoding="utf-8"))
    return loaded


def quickstart(checkout: Callable[..., Checkout]) -> Checkout:
    """Return a checkout of the quickstart, before its Glider."""
    seed = example("sandbox.yaml")
    files = (ROOT / "examples/quickstart/automation.yaml").read_text(encoding="utf-8")
    return checkout(seed["portfolios"], files, **{"readable_schedule": False, **seed.get("settings", {})})


def shown(text: str, made: Checkout) -> str:
    """Return a page as it is of the real service and repository."""
    text = text.replace(made.glider.url, "https://api.glider.fi").replace("team/fleet", "acme/portfolios")
    return re.sub(r"<!-- glider-reconciler .*-->\n", "", text)


def test_the_comment_of_the_quickstart(
    checkout: Callable[..., Checkout], kept: Callable[[str, str, str], None]
) -> None:
    """The plan of the quickstart, as its pull request shows it."""
    made, github = quickstart(checkout), FakeGitHub()
    with serving(github):
        job = made("plan", event=there(EVENT, github), comment="true", environment="production")
    assert job.status is Status.SUCCESS, job.log
    kept("comment-quickstart", shown(github.comments[0]["body"], made), COMMENT)


def test_the_summary_of_a_refused_apply(
    checkout: Callable[..., Checkout], kept: Callable[[str, str, str], None]
) -> None:
    """The files have moved on since the plan was approved: what would run is compared with that."""
    made = quickstart(checkout)
    event = events.push(sha=COMMIT).having(run_number="215", run_id="18273702", repository="acme/portfolios")
    made("plan", event=event, plan_file="approved.json")
    files = (ROOT / "examples/quickstart/automation.yaml").read_text(encoding="utf-8")
    made.write("automation.yaml", files.replace("interval: 12h", "interval: 6h"))
    job = made("apply", event=event, approved_plan="approved.json", environment="production")
    assert job.outputs["exit-reason"] == "stale"
    kept("summary-refused", shown(job.summary, made), SUMMARY)


def test_the_comment_of_a_large_plan(kept: Callable[[str, str, str], None]) -> None:
    """Three thousand portfolios, most of which change with two lines of the files."""
    words = ("Blue chips", "Stable yield", "Momentum", "Growth", "Carry", "Treasury", "Index")
    lines = {
        12: Layered("group every-12h", "automation/groups.yaml", 12),
        6: Layered("defaults", "automation/defaults.yaml", 4),
    }

    def one(number: int) -> Any:
        verb = Verb.PAUSE if number % 40 == 1 else Verb.RESUME if number % 50 == 2 else Verb.UPDATE
        hours = 12 if number % 3 else 6
        risks = {Verb.PAUSE: (), Verb.RESUME: (Risk.TRADES_AGAIN,)}.get(verb, (Risk.MORE_RUNS,))
        made = change(number, verb, risks=risks, hours=(24, hours))
        source = Origin("automation/fleet.yaml", 10 + number, lines[hours])
        name = f"{words[number % len(words)]} {number:04}"
        return replace(made, name=name, note="Liquidity event" if verb is Verb.PAUSE else None, source=source)

    plan = Plan(
        base_url="https://api.glider.fi",
        created_ms=NOON_MS,
        account="Acme EU",
        config_files=tuple(f"automation/{n}.yaml" for n in range(6)),
        selection=EVERYTHING,
        changes=tuple(map(one, range(1, 1600))),
        held=tuple(
            replace(plan_of().held[0], id=f"p{n:05}", pause_reason="Paused from the app by maria", name=f"Fund {n}")
            for n in range(1700, 1712)
        ),  # type: ignore[arg-type]  # ids are texts
        no_op=1389,
    )
    run = ActionRun(
        at_ms=NOON_MS,
        looks_at="production",
        commit=COMMIT,
        home="https://github.com/acme/portfolios",
        number="214",
        url="https://github.com/acme/portfolios/actions/runs/18273645",
    )
    ending = Ending(reason=ExitReason.OK, found=Found(command="plan", plan=plan, fingerprint=fingerprint(plan)))
    kept("comment-large", comment_body(ending, run=run), COMMENT)
