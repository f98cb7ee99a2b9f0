"""The saved form of a plan, read back and checked: nothing of it is believed before its fingerprint matches.

In: text. Out: a :class:`~reconciler.core.plan.Plan`, or an error that says what to do.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.core.desired import Origin, PortfolioId
from reconciler.core.diagnostics import Diagnostic, Severity, SourceSpan
from reconciler.core.diff import Field, FieldChange
from reconciler.core.errors import PlanInvalid, StalePlan
from reconciler.core.limits import Excess
from reconciler.core.live import Provenance, Status, Verdict
from reconciler.core.plan import Blocked, BlockReason, Cause, Change, ChangeReason, Held, Plan, Risk, Snapshot
from reconciler.core.planfile import FORMAT_VERSION, TOOL, fingerprint, from_iso
from reconciler.core.selection import Selection
from reconciler.core.verb import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def parse_plan(text: str | bytes) -> Plan:
    """Return the plan of a saved file.

    Raises :class:`PlanInvalid` for anything that is not such a file, is of another major format, or whose content
    does not match its own fingerprint.
    """
    try:
        document = json.loads(text)
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


def _require_format(version: object) -> None:
    if str(version).split(".", maxsplit=1)[0] != FORMAT_VERSION.split(".", maxsplit=1)[0]:
        raise PlanInvalid(
            f"the plan file has format version {version!s:.20}",
            f"This is {TOOL}, which reads version {FORMAT_VERSION}. Make the plan again with this version.",
        )


def _plan(document: Mapping[str, Any]) -> Plan:
    selection = document["selection"]
    return Plan(
        base_url=_text(document["base_url"]),
        created_ms=from_iso(document["created_at"]),
        config_digest=_text(document["config"]["digest"]),
        config_files=_texts(document["config"]["files"]),
        selection=Selection(
            targets=_texts(selection["targets"]),
            excludes=_texts(selection["excludes"]),
            groups=_texts(selection["groups"]),
        ),
        changes=tuple(_parse_change(change) for change in document["changes"]),
        held=tuple(
            Held(
                id=_id(held["id"]),
                name=_maybe_text(held["name"]),
                pause_reason=_maybe_text(held["pause_reason"]),
                last_run_ms=_maybe_time(held["last_run_at"]),
                unverified=_flag(held["unverified"]),
                source=_parse_source(held["source"]),
            )
            for held in document["held"]
        ),
        blocked=tuple(
            Blocked(
                id=_id(blocked["id"]),
                name=_maybe_text(blocked["name"]),
                reason=BlockReason(blocked["reason"]),
                status=_text(blocked["status"]),
                detail=_text(blocked["detail"]),
                failure=_maybe_text(blocked["failure"]),
                source=_parse_source(blocked["source"]),
            )
            for blocked in document["blocked"]
        ),
        unmanaged=tuple(_id(portfolio) for portfolio in document["unmanaged"]),
        no_op=_number(document["summary"]["no_op"]),
        unverified=_number(document["summary"]["unverified"]),
        over=tuple(
            Excess(
                verb=Verb(over["verb"]),
                planned=_number(over["planned"]),
                allowed=_number(over["allowed"]),
                limit=_text(over["limit"]),
            )
            for over in document["guards"]
        ),
        warnings=tuple(_parse_diagnostic(warning) for warning in document["warnings"]),
    )


def _parse_change(change: Mapping[str, Any]) -> Change:
    return Change(
        id=_id(change["id"]),
        name=_maybe_text(change["name"]),
        verb=Verb(change["verb"]),
        before=_parse_snapshot(change["before"]),
        after=_parse_snapshot(change["after"]),
        fields=tuple(
            FieldChange(
                field=Field(f["field"]),
                live=f["live"],
                desired=f["desired"],
                verdict=Verdict(f["verdict"]),
                provenance=Provenance(f["provenance"]),
                overruled=_maybe_number(f["overruled"]),
            )
            for f in change["fields"]
        ),
        reason=ChangeReason(change["reason"]),
        risks=tuple(Risk(risk) for risk in change["risks"]),
        cause=Cause(change["cause"]) if change["cause"] is not None else None,
        writes_schedule=_flag(change["writes_schedule"]),
        run_on_start=_flag(change["run_on_start"]),
        note=_maybe_text(change["note"]),
        pause_reason=_maybe_text(change["pause_reason"]),
        next_run_ms=_maybe_time(change["next_run_at"]),
        source=_parse_source(change["source"]),
    )


def _parse_snapshot(snapshot: Mapping[str, Any]) -> Snapshot:
    return Snapshot(
        state=Status(snapshot["state"]),
        interval_ms=_maybe_number(snapshot["interval_ms"]),
        offset_ms=_maybe_number(snapshot["offset_ms"]),
    )


def _parse_source(source: Mapping[str, Any] | None) -> Origin | None:
    return Origin(_text(source["file"]), _number(source["line"])) if source is not None else None


def _parse_diagnostic(document: Mapping[str, Any]) -> Diagnostic:
    file, line, column = document["file"], document["line"], document["column"]
    return Diagnostic(
        severity=Severity(document["severity"]),
        problem=_text(document["problem"]),
        repair=_text(document["repair"]),
        address=_text(document["address"]),
        span=SourceSpan(_text(file), _number(line), _number(column)) if file is not None else None,
    )


def _id(value: object) -> PortfolioId:
    text = _text(value)
    if not (0 < len(text) <= 128 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()):
        raise ValueError("not a portfolio id")
    return PortfolioId(text)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _maybe_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _texts(values: Sequence[object]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values)


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a number")
    return value


def _maybe_number(value: object) -> int | None:
    return None if value is None else _number(value)


def _maybe_time(value: object) -> int | None:
    return None if value is None else from_iso(_text(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("not a flag")
    return value
