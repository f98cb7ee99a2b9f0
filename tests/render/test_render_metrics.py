"""The numbers for a monitoring system: what two parsers of Prometheus make of them, whatever a name holds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from msgspec.structs import replace
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from reconciler.core.change import Change, ChangeReason, Snapshot
from reconciler.core.fleet import Listing, Selection
from reconciler.core.model import Status, Verb
from reconciler.core.plan import LiveSummary, Plan, PlanCost
from reconciler.core.report import ApplyReport, Outcome, Result
from reconciler.render.metrics import metrics_text
from tests.support import HOUR_MS, NOON_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
SHARED = ("command", "url", "account", "files", "selection")
"""The labels that all samples of a file have alike."""
COST = PlanCost(
    before_usd_month=30.0,
    after_usd_month=12.5,
    before_runs_day=3.0,
    after_runs_day=1.0,
    portfolios_known=3,
    portfolios=3,
)


def change(portfolio: str, verb: Verb, before: Status, after: Status, hours: int = 24) -> Change:
    """Return a change of a portfolio that runs every so many hours, where it runs."""
    return Change(
        id=portfolio,
        verb=verb,
        before=Snapshot(state=before, interval_ms=hours * HOUR_MS),
        after=Snapshot(state=after, interval_ms=hours * HOUR_MS if after is Status.ACTIVE else None),
        fields=(),
        reason=ChangeReason.NOT_RUNNING,
    )


def made(*changes: Change, **given: object) -> Plan:
    """Return a plan of a fleet of ten."""
    live = LiveSummary(states={Status.ACTIVE: 7, Status.PAUSED: 3}, runs_day=7.0)
    plan = Plan(created_ms=NOON_MS, base_url="https://api.glider.fi", live=live, changes=changes, cost=COST)
    return replace(plan, **given)


def read(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Return the samples by their metric's name; both parsers must find the same, and gauges alone."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    older = {family.name: family for family in parser.text_string_to_metric_families(text)}
    for family in openmetrics_parser.text_string_to_metric_families(text):
        assert family.type == older[family.name].type == "gauge"
        assert family.documentation == older[family.name].documentation != ""
        assert [sample[:3] for sample in family.samples] == [sample[:3] for sample in older[family.name].samples]
        own = [
            (tuple(value for label, value in sample.labels.items() if label not in SHARED), sample.value)
            for sample in family.samples
        ]
        found[family.name] = dict(own)
        assert len(own) == len(found[family.name])
    return found


def labels(text: str) -> Mapping[str, str]:
    """Return the labels that all samples share."""
    (found,) = {
        tuple(sorted((k, v) for k, v in sample.labels.items() if k not in ("state", "verb", "outcome")))
        for family in openmetrics_parser.text_string_to_metric_families(text)
        for sample in family.samples
    }
    return dict(found)


def test_a_plan() -> None:
    """States, what is pending by verb, what waits, runs and costs as they are, and when it was read."""
    text = metrics_text(made(change("a", Verb.PAUSE, Status.ACTIVE, Status.PAUSED), unverified=2), command="plan")
    found = read(text)
    assert text.endswith("\n# EOF\n")
    assert {state: n for state, n in found["reconciler_portfolios"].items() if n} == {("active",): 7, ("paused",): 3}
    assert found["reconciler_changes"] == {("start",): 0, ("resume",): 0, ("update",): 0, ("pause",): 1}
    assert found["reconciler_unverified"] == {(): 2}
    assert found["reconciler_runs_per_day"] == {(): 7.0}
    assert found["reconciler_cost_usd_month"] == {(): 30.0}
    assert found["reconciler_checked_timestamp_seconds"] == {(): NOON_MS / 1000}
    assert labels(text) == {"command": "plan", "url": "https://api.glider.fi"}


def test_what_is_not_known_has_no_sample() -> None:
    """No zero stands for a number that nobody read."""
    unknown = {"reconciler_unmanaged", "reconciler_cadence_changes", "reconciler_failed", "reconciler_apply_results"}
    assert unknown.isdisjoint(read(metrics_text(made(), command="plan")))
    older = read(metrics_text(made(live=None, cost=None), command="plan"))
    gone = {"reconciler_portfolios", "reconciler_runs_per_day", "reconciler_cost_usd_month"}
    assert gone.isdisjoint(older)
    assert read(metrics_text(made(), command="status", failed=0))["reconciler_failed"] == {(): 0}
    whole = read(metrics_text(made(listing=Listing.COMPLETE, strategies_no_op=2), command="drift"))
    assert (whole["reconciler_unmanaged"], whole["reconciler_cadence_changes"]) == ({(): 0}, {(): 0})


@pytest.mark.parametrize("outcome", list(Outcome))
def test_an_apply(outcome: Outcome) -> None:
    """What it did is reckoned with, and what it did not do is still pending."""
    pause = change("a", Verb.PAUSE, Status.ACTIVE, Status.PAUSED)
    resume = change("b", Verb.RESUME, Status.PAUSED, Status.ACTIVE, hours=12)
    plan = made(pause, resume)
    results = (Result(change=pause, outcome=Outcome.DONE), Result(change=resume, outcome=outcome))
    report = ApplyReport(plan=plan, results=results, started_ms=NOON_MS, finished_ms=NOON_MS + 1500)
    found = read(metrics_text(plan, command="apply", report=report))
    done = outcome in (Outcome.DONE, Outcome.ALREADY_DONE)
    assert found["reconciler_portfolios"][("active",)] == (7 if done else 6)
    assert found["reconciler_portfolios"][("paused",)] == (3 if done else 4)
    assert found["reconciler_changes"][("resume",)] == (0 if done else 1)
    assert found["reconciler_changes"][("pause",)] == 0
    assert found["reconciler_runs_per_day"] == {(): 8.0 if done else 6.0}
    assert found.get("reconciler_cost_usd_month") == ({(): 12.5} if done else None)
    assert found["reconciler_apply_results"][(outcome.value,)] == (2 if outcome is Outcome.DONE else 1)
    assert found["reconciler_checked_timestamp_seconds"] == {(): (NOON_MS + 1500) / 1000}


HOSTILE = 'a"} 1\n# EOF\nreconciler_held{x="\\'


def test_nothing_hostile_adds_a_sample() -> None:
    """A name stays inside its quotes and comes back as it is, for both parsers."""
    chosen = Selection(targets=("p1",), excludes=("p2",), groups=(HOSTILE,), terms=("team!=fx",))
    text = metrics_text(made(account=HOSTILE, selection=chosen), command="plan")
    assert read(text).keys() == read(metrics_text(made(), command="plan")).keys()
    assert labels(text)["account"] == HOSTILE
    assert labels(text)["selection"] == f"--target p1 --exclude p2 --select group={HOSTILE} --select team!=fx"
    assert text.count("\n# EOF\n") == 1


MONITORING = ROOT / "examples/monitoring"


def full() -> dict[str, dict[tuple[str, ...], float]]:
    """Return every metric that there is."""
    plan = made(change("a", Verb.PAUSE, Status.ACTIVE, Status.PAUSED), listing=Listing.COMPLETE, strategies_no_op=1)
    result = Result(change=plan.changes[0], outcome=Outcome.DONE)
    report = ApplyReport(plan=plan, results=(result,), started_ms=NOON_MS, finished_ms=NOON_MS)
    return read(metrics_text(plan, command="apply", report=report, failed=1))


def test_the_page_names_every_metric() -> None:
    """The table of the example has each metric once, with its label, and no other."""
    page = (MONITORING / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(reconciler_\w+)` \| (?:`(\w+)`)? ?\|", page, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(full())
    assert {name for name, label in rows if label} == {name for name, samples in full().items() if () not in samples}


def test_the_alerts_are_about_metrics_that_there_are() -> None:
    """Each rule has a name, words, and an expression about metrics and labels of ours; one is about the job itself."""
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
    (group,) = document["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names) > 5
    for rule in group["rules"]:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"].keys() == {"summary", "description"}
        used = set(re.findall(r"\breconciler_\w+", rule["expr"]))
        assert used
        assert used <= full().keys()
        # Without one, the old numbers of another job would go on telling of what is over.
        assert len(re.findall(r'command="(?:status|drift)"', rule["expr"])) == len(
            re.findall("reconciler_", rule["expr"])
        )
        known = {"url", "account", "selection", "command", "state", "verb", "outcome"}
        told = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        matched = set(re.findall(r"(\w+)=~?\"", rule["expr"]))
        grouped = {word for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for word in by.split(", ")}
        assert (told | matched | grouped) <= known
        assert told <= grouped
    assert any("time() -" in rule["expr"] and "checked_timestamp" in rule["expr"] for rule in group["rules"])


@pytest.mark.parametrize(
    ("files", "label"),
    [
        ((), None),
        (("automation.yaml",), "automation.yaml"),
        (("fx/a.yaml", "fx/b/c.yaml"), "fx"),
        (("/etc/a.yaml", "b.yaml"), "/etc/a.yaml b.yaml"),
        (("a.yaml", "b.yaml"), "a.yaml b.yaml"),
    ],
)
def test_jobs_with_other_files_have_other_samples(files: tuple[str, ...], label: str | None) -> None:
    """Two fleets of one account on one machine."""
    assert labels(metrics_text(made(config_files=files), command="plan")).get("files") == label


def test_a_long_selection_is_cut_and_stays_another() -> None:
    """Thousands of ids would stand in each of fifty samples."""
    many = [Selection(targets=tuple(f"p{n}" for n in range(2_000 + more))) for more in range(2)]
    texts = [metrics_text(made(selection=one), command="plan") for one in many]
    assert max(map(len, texts)) < 30_000
    assert len({labels(text)["selection"] for text in texts}) == 2
