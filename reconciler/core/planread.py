"""The saved form of a plan, read back and checked: nothing of it is believed before its fingerprint matches.

In: text. Out: a :class:`~reconciler.core.plan.Plan`, or an error that says what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, assert_never

from reconciler.core.cost import PlanCost
from reconciler.core.desired import ApiVersion, Origin, RunState
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.diff import Field, FieldChange
from reconciler.core.errors import NotExpected, PlanInvalid, StalePlan
from reconciler.core.jsonread import (
    amount,
    flag,
    maybe_number,
    maybe_text,
    number,
    number_within,
    portfolio_id,
    read_document,
    text,
    texts,
)
from reconciler.core.limits import REACH, Excess
from reconciler.core.live import Provenance, Status, Verdict
from reconciler.core.pausedby import PausedBy
from reconciler.core.plan import (
    Blocked,
    BlockReason,
    Cause,
    Change,
    ChangeReason,
    Held,
    JournalState,
    Listing,
    Moved,
    Plan,
    Risk,
    Snapshot,
    Unmanaged,
)
from reconciler.core.planfile import FORMAT_VERSION, TOOL, fingerprint, from_iso, iso
from reconciler.core.selection import Selection
from reconciler.core.strategyfile import parse_strategies
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_MS: Final = 10**15
"""A bound for every interval and offset, as in the service's answers."""


def parse_plan(text: str | bytes) -> Plan:
    """Return the plan of a saved file.

    Raises :class:`PlanInvalid` for anything that is not such a file, is of another major format, or whose content
    does not match its own fingerprint.
    """
    try:
        document = read_document(text)
        _require_format(document["format_version"])
        plan = _plan(document)
        stored = document["fingerprint"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PlanInvalid(
            "the file is not a saved plan",
            "It is cut, edited or something else. Make it again with `reconciler plan --out FILE`.",
        ) from error
    if stored != fingerprint(plan):
        raise PlanInvalid(
            "the plan file does not match its fingerprint",
            "It was edited after it was made. Make it again with `reconciler plan --out FILE`.",
        )
    return plan


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


def require_applicable(plan: Plan) -> None:
    """Raise :class:`StalePlan` for a plan that was made from a live file: nobody looked at the service for it."""
    if plan.as_of_ms is not None:
        raise StalePlan(
            f"the plan was made from a live file of {iso(plan.as_of_ms)}, so it can't be applied",
            "Nothing was written. It is for reading only: plan again without --live, and apply that plan.",
        )


def _require_format(version: object) -> None:
    if str(version).split(".", maxsplit=1)[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        raise PlanInvalid(
            f"the plan file has format version {version!s:.20}",
            f"This is {TOOL}, which reads version {FORMAT_VERSION}. Make the plan again with this version.",
        )


def _plan(document: Mapping[str, Any]) -> Plan:
    selection = document["selection"]
    strategies, blocked_strategies, strategies_no_op = parse_strategies(document.get("strategies"))
    return Plan(
        base_url=text(document["base_url"]),
        account=maybe_text(document["account"]),
        created_ms=_time(document["created_at"]),
        as_of_ms=_maybe_time(document["as_of"]),
        config_digest=text(document["config"]["digest"]),
        config_files=texts(document["config"]["files"]),
        selection=Selection(
            targets=texts(selection["targets"]),
            excludes=texts(selection["excludes"]),
            groups=texts(selection["groups"]),
        ),
        changes=tuple(_parse_change(change) for change in document["changes"]),
        held=tuple(
            Held(
                id=portfolio_id(held["id"]),
                api=ApiVersion(held.get("api", "v1")),
                name=maybe_text(held["name"]),
                pause_reason=maybe_text(held["pause_reason"]),
                paused_by=PausedBy(held["paused_by"]),
                last_run_ms=_maybe_time(held["last_run_at"]),
                unverified=flag(held["unverified"]),
                source=_parse_source(held["source"]),
            )
            for held in document["held"]
        ),
        blocked=tuple(
            Blocked(
                id=portfolio_id(blocked["id"]),
                api=ApiVersion(blocked.get("api", "v1")),
                name=maybe_text(blocked["name"]),
                reason=BlockReason(blocked["reason"]),
                status=text(blocked["status"]),
                detail=text(blocked["detail"]),
                failure=maybe_text(blocked["failure"]),
                source=_parse_source(blocked["source"]),
            )
            for blocked in document["blocked"]
        ),
        moved=tuple(_parse_moved(moved) for moved in document.get("moved", ())),
        unmanaged=tuple(
            Unmanaged(
                id=portfolio_id(one["id"]),
                name=maybe_text(one["name"]),
                status=Status(one["status"]),
                strategy=maybe_text(one["strategy"]),
            )
            for one in document["unmanaged"]
        ),
        listing=Listing(document.get("listing", "none")),
        journal=JournalState(document.get("journal", "in_use")),
        no_op=number(document["summary"]["no_op"]),
        unverified=number(document["summary"]["unverified"]),
        over=tuple(
            Excess(
                guarded=REACH if over["verb"] == REACH else Verb(over["verb"]),
                planned=maybe_number(over["planned"]),
                allowed=number(over["allowed"]),
                limit=text(over["limit"]),
            )
            for over in document["guards"]
        ),
        warnings=tuple(_parse_diagnostic(warning) for warning in document["warnings"]),
        strategies=strategies,
        blocked_strategies=blocked_strategies,
        strategies_no_op=strategies_no_op,
        cost=_parse_cost(document.get("cost")),
    )


def _parse_change(change: Mapping[str, Any]) -> Change:
    before, after = _parse_snapshot(change["before"]), _parse_snapshot(change["after"])
    return Change(
        id=portfolio_id(change["id"]),
        api=ApiVersion(change.get("api", "v1")),
        cadence_ms=_maybe_ms(change.get("cadence_ms"), lowest=1),
        strategy=maybe_text(change.get("strategy")),
        pause_id=maybe_text(change.get("pause_id")),
        since=maybe_text(change["since"]),
        name=maybe_text(change["name"]),
        verb=Verb(change["verb"]),
        before=before,
        after=after,
        fields=tuple(_parse_field(field, before, after) for field in change["fields"]),
        reason=ChangeReason(change["reason"]),
        risks=tuple(Risk(risk) for risk in change["risks"]),
        cause=Cause(change["cause"]) if change["cause"] is not None else None,
        writes_schedule=flag(change["writes_schedule"]),
        run_on_start=flag(change["run_on_start"]),
        note=maybe_text(change["note"]),
        pause_reason=maybe_text(change["pause_reason"]),
        next_run_ms=_maybe_time(change["next_run_at"]),
        source=_parse_source(change["source"]),
    )


def _parse_moved(moved: Mapping[str, Any]) -> Moved:
    declared, live = moved["declared"], moved["live"]
    return Moved(
        id=portfolio_id(moved["id"]),
        name=maybe_text(moved["name"]),
        state=RunState(moved["state"]),
        status=Status(moved["status"]),
        declared=text(declared["strategy"]),
        declared_name=maybe_text(declared["name"]),
        live=text(live["strategy"]),
        live_name=maybe_text(live["name"]),
        cadence_ms=_maybe_ms(live["interval_ms"], lowest=1),
        source=_parse_source(moved["source"]),
    )


def _parse_field(field: Mapping[str, Any], before: Snapshot, after: Snapshot) -> FieldChange:
    """The fingerprint does not cover the fields, but the two ends of their change: nothing else may be shown."""
    name = Field(field["field"])
    live, desired = _value_of(name, before), _value_of(name, after)
    if desired is None or (field["live"], field["desired"]) != (live, desired):
        raise ValueError("a field that is not its change's")
    return FieldChange(
        field=name,
        live=live,
        desired=desired,
        verdict=Verdict(field["verdict"]),
        provenance=Provenance(field["provenance"]),
        overruled=_maybe_ms(field["overruled"], lowest=0),
    )


def _value_of(field: Field, end: Snapshot) -> str | int | None:
    match field:
        case Field.STATE:
            return end.state.value
        case Field.INTERVAL:
            return end.interval_ms
        case Field.OFFSET:
            return end.offset_ms
        case _:
            assert_never(field)


def _parse_snapshot(snapshot: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        state=Status(snapshot["state"]),
        interval_ms=_maybe_ms(snapshot["interval_ms"], lowest=1),
        offset_ms=_maybe_ms(snapshot["offset_ms"], lowest=0),
    )


def _parse_source(source: Mapping[str, Any] | None) -> Origin | None:
    return Origin(text(source["file"]), number(source["line"])) if source is not None else None


def _parse_diagnostic(document: Mapping[str, Any]) -> Diagnostic:
    file, line, column = document["file"], document["line"], document["column"]
    return Diagnostic(
        severity=Severity(document["severity"]),
        problem=text(document["problem"]),
        repair=text(document["repair"]),
        address=text(document["address"]),
        span=SourceSpan(text(file), number(line), number(column)) if file is not None else None,
        rule=maybe_text(document.get("rule")),
    )


def _parse_cost(cost: Mapping[str, Any] | None) -> PlanCost | None:
    if cost is None:
        return None
    return PlanCost(
        before_usd_month=amount(cost["before_usd_month"]),
        after_usd_month=amount(cost["after_usd_month"]),
        before_runs_day=amount(cost["before_runs_day"]),
        after_runs_day=amount(cost["after_runs_day"]),
        portfolios_known=number(cost["portfolios_known"]),
        portfolios=number(cost["portfolios"]),
    )


def _time(value: object) -> int:
    """Return a time as it is written here, and no other: one that can't be written again would fail much later."""
    written = text(value)
    found = from_iso(written)
    if iso(found) != written:
        raise ValueError("not a time as it is written here")
    return found


def _maybe_time(value: object) -> int | None:
    return None if value is None else _time(value)


def _maybe_ms(value: object, *, lowest: int) -> int | None:
    return None if value is None else number_within(value, lowest=lowest, highest=_LONGEST_MS)
