"""A plan as JSON text and back, and its fingerprint. A saved plan is only believed if its fingerprint matches.

In: a :class:`~reconciler.core.plan.Plan`, or text. Out: the other, or an error that says what to do. The fingerprint
covers what a plan means, not its words: plans that would do the same to the same observed state have the same
fingerprint, whatever their files or time.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, assert_never

from msgspec.structs import asdict

from reconciler.core.change import ChangeReason, Field, Snapshot
from reconciler.core.codec import SavedFormat, dump, iso, load
from reconciler.core.cost import runs_a_day, runs_of
from reconciler.core.errors import ExitReason, NotExpected, PlanInvalid, StalePlan
from reconciler.core.evidence import SLACK_MS
from reconciler.core.model import Verb, at_start
from reconciler.core.plan import Plan
from reconciler.core.text import HOUR_MS, format_duration, rough_duration

if TYPE_CHECKING:
    from reconciler.core.change import Change, FieldChange
    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.fleet import PortfolioList

PLAN_FORMAT: Final = SavedFormat(
    file="the plan file",
    what="the plan",
    is_none="a saved plan",
    version="3.1",
    command="reconciler plan --out FILE",
    largest=256 * 1024 * 1024,
    key="fingerprint",
    first="created_at",
    error=PlanInvalid,
)
MAX_AGE_MS: Final = HOUR_MS
"""How old the reads of live files may be when a plan from them is applied, unless somebody says otherwise."""
_REQUIRED: Final = ("selection", "guards", "warnings", "changes", "held", "blocked", "moved", "unmanaged")
_COUNTS: Final = ("no_op", "unverified")
"""What a plan counts and its summary tells."""


def fingerprint(plan: Plan) -> str:
    """Return the SHA-256, in hex, of the sorted list of changes (what each observed, wants and would send, and the last
    write that the journal knew), of the guards that the plan exceeds, and of the freezes in which changes wait."""
    from hashlib import sha256

    changes = sorted(
        [
            plan.base_url,
            plan.account or "",
            change.id,
            change.api.value,
            change.verb.value,
            asdict(change.before),
            asdict(change.after),
            [change.pause_reason or "", change.pause_id or "", change.since or ""],
            [change.writes_schedule, *at_start(change).values(), change.note or "", *filter(None, [change.halt])],
            # The only reason that decides what an apply may do: lift a pause that is not ours.
            change.reason is ChangeReason.HOLD_OVERRIDDEN,
        ]
        for change in plan.changes
    )
    # A plan over a guard must not pass for one that is not.
    over = [[str(excess.guarded), excess.planned, excess.allowed] for excess in plan.over]
    # Nor must a plan whose changes wait for a freeze pass for one whose changes don't.
    waits = [[c.id, *([w.name, w.from_ms, w.to_ms] for w in c.freezes)] for c in plan.changes if c.freezes]
    meaning = [changes, over, *([sorted(waits)] if waits else [])]
    return sha256(json.dumps(meaning, separators=(",", ":"), ensure_ascii=True).encode()).hexdigest()


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as a JSON object, without what stands in every document."""
    document = dump(plan)
    document["warnings"] = [diagnostic_document(warning) for warning in plan.warnings]
    for change, written in zip(plan.changes, document["changes"], strict=True):
        if change.of_strategy is not None:
            written["before_runs_day"] = runs_a_day(change, change.before.cadence)
            written["after_runs_day"] = runs_a_day(change, change.after.cadence)
    for name in (*_COUNTS, "strategies_no_op"):  # they stand in the summary
        del document[name]
    config = {"digest": document.pop("config_digest"), "files": document.pop("config_files")}
    return {
        "created_at": document.pop("created_at"),
        "as_of": document.pop("as_of"),
        "shares": document.pop("shares"),
        "base_url": document.pop("base_url"),
        "account": document.pop("account"),
        "config": config,
        "selection": document.pop("selection"),
        "fingerprint": fingerprint(plan),
        "summary": dump(plan.summary),
        "guards": document.pop("guards"),
        "errors": [{"id": b.id, "reason": b.reason.value, "problem": b.detail} for b in plan.blocked],
        **document,
        "runs": dump(runs) if (runs := runs_of(plan)) is not None else None,
    }


def format_plan(plan: Plan, exit_reason: ExitReason = ExitReason.OK) -> str:
    """Return the plan as JSON text that ends in a line break. The same plan gives the same text."""
    return PLAN_FORMAT.text({"exit_reason": exit_reason.word, **plan_document(plan)})


def parse_plan(content: str | bytes) -> Plan:
    """Return the plan of a saved file.

    Raises :class:`PlanInvalid` for anything that is not such a file, is of another major format, or whose content
    does not match its own fingerprint.
    """
    plan, stored = PLAN_FORMAT.parse(content, lambda document: (_plan(document), document["fingerprint"]))
    if stored != fingerprint(plan):
        raise PlanInvalid(
            "the plan file does not match its fingerprint",
            f"It was edited after it was made. Make it again with `{PLAN_FORMAT.command}`.",
        )
    return plan


def _plan(document: dict[str, Any]) -> Plan:
    summary, config = document["summary"], document["config"]
    plan = load(
        {
            **document,
            **{name: document[name] for name in _REQUIRED},  # the fingerprint covers only some: none may be missing
            **{name: summary[name] for name in _COUNTS},
            "strategies_no_op": summary["strategies"]["no_op"],
            "config_digest": config["digest"],
            "config_files": config["files"],
            "warnings": [_with_span(warning) for warning in document["warnings"]],
        },
        Plan,
    )
    for change in plan.changes:
        _require_kind(change)
        for field in change.fields:
            _require_ends(field, change)
    return plan


def _require_kind(change: Change) -> None:
    """Require that a change is a portfolio's, with states, or a strategy's, with cadences, and does not mix the two."""
    if change.halt is not None:
        raise ValueError("a change of a halt or its lift, which are never saved")
    ends = (change.before, change.after)
    if change.of_strategy is None:
        known = all(end.state is not None and end.cadence is None for end in ends)
    else:
        known = (
            change.verb is Verb.UPDATE
            and change.after.cadence is not None
            and all(end == Snapshot(cadence=end.cadence) for end in ends)
            and [field.field for field in change.fields] == [Field.SCHEDULE]
        )
    if not known:
        raise ValueError("a change that is neither a portfolio's nor a strategy's")


def _require_ends(field: FieldChange, change: Change) -> None:
    """Require that the fields show nothing but the two ends of their change: the fingerprint covers only those ends."""
    if (field.live, field.desired) != (_value_of(field.field, change.before), _value_of(field.field, change.after)):
        raise ValueError("a field that is not its change's")


def _value_of(field: Field, end: Snapshot) -> str | int | None:
    match field:
        case Field.STATE:
            return end.state
        case Field.INTERVAL:
            return end.interval_ms
        case Field.OFFSET:
            return end.offset_ms
        case Field.SCHEDULE:
            return end.cadence
        case _:
            assert_never(field)


def diagnostic_document(diagnostic: Diagnostic) -> dict[str, Any]:
    """Return a diagnostic as a JSON object; its place is ``null`` if it has none."""
    span = diagnostic.span
    return {
        "severity": diagnostic.severity.value,
        "address": diagnostic.address,
        "problem": diagnostic.problem,
        "repair": diagnostic.repair,
        "file": span.file if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "rule": diagnostic.rule,
    }


def _with_span(document: dict[str, Any]) -> dict[str, Any]:
    """Return a diagnostic's object with its place as the value has it."""
    place = {name: document[name] for name in ("file", "line", "column")}
    return {**document, "span": place if place["file"] is not None else None, "excerpt": None}


def require_service(plan: Plan, base_url: str) -> None:
    """Raise :class:`StalePlan` unless the plan was made for this service."""
    if plan.base_url != base_url:
        raise StalePlan(
            f"the plan was made for {plan.base_url}, not for {base_url}",
            "Point GLIDER_BASE_URL or --base-url at the service it was made for, or plan again.",
        )


def require_account(plan: Plan, account: str | None) -> None:
    """Raise :class:`NotExpected` unless the key belongs to the account that the plan was made with."""
    if plan.account is None or account == plan.account:
        return
    found = f"this key belongs to {account}" if account is not None else "whose key this is can't be known"
    raise NotExpected(
        f"the plan was made for the account {plan.account}, and {found}",
        "Nothing was written. Use the key of that account, or plan again.",
    )


def require_applicable(plan: Plan, *, now_ms: int, max_age_ms: int | None) -> None:
    """Raise :class:`StalePlan` for a plan whose reads are older than ``max_age_ms``, or of a time that is yet to come.

    ``now_ms`` is the service's time. Without a limit, that of live files holds for a plan that was made from them, and
    none for any other plan.
    """
    if max_age_ms is None:
        if plan.as_of_ms is None:
            return
        max_age_ms = MAX_AGE_MS
    read_ms = plan.created_ms if plan.as_of_ms is None else plan.as_of_ms
    if -SLACK_MS <= now_ms - read_ms <= max_age_ms:
        return
    if now_ms < read_ms:
        why = f"its reads are of {iso(read_ms)}, and at the service it is {iso(now_ms)}"
    else:
        age, most = rough_duration(now_ms - read_ms), format_duration(max_age_ms)
        why = f"its reads are of {iso(read_ms)}, {age} ago, and at most {most} is allowed"
    raise StalePlan(
        f"the plan can't be applied any more: {why}",
        "Nothing was written. Read and plan again, or allow older reads with --max-age.",
    )


def require_enrolled(plan: Plan, listed: PortfolioList) -> None:
    """Raise :class:`StalePlan` if a new cadence would reach other portfolios than a plan from live files says."""
    for change in plan.cadences:
        now = listed.enrolment(change.of_strategy or "")
        if now is None or now != change.enrolled:
            raise StalePlan(
                f"other portfolios follow the strategy {change.of_strategy} than the live files of the plan say",
                "Nothing was written. Read and plan again.",
            )
