"""Checks of everything that a plan or an apply needs, as values: what was found, and what to do about it.

In: what the files and the journal hold, and :class:`Asking`: what the service was asked and answered. Out: one
:class:`Check` a question (is it Glider, is the key good, which paths are there), each judged by itself. An
answer that is inferred says so. Knows no socket, no file and no clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from reconciler.core.codec import iso
from reconciler.core.endpoint import CONSOLE, mismatch
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, ReconcilerError, exit_reason_of
from reconciler.core.model import Paths
from reconciler.core.text import label, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.core.change import Change
    from reconciler.core.endpoint import Expect
    from reconciler.core.model import Desired

SLOW_MS: Final = 2_000
"""A read that takes longer makes the plan of a large fleet a matter of many minutes."""
SKEWED_MS: Final = 5_000
"""A clock further off than this makes times in reports, and a date in ``Retry-After``, wrong."""


class CheckId(StrEnum):
    """The checks, in the order of display."""

    PROGRAM = "program"
    FILES = "files"
    JOURNAL = "journal"
    PROXY = "proxy"
    SERVICE = "service"
    KEY = "key"
    ACCOUNT = "account"
    SCOPES = "scopes"
    PATHS = "paths"
    LATENCY = "latency"
    RATE_LIMIT = "rate_limit"
    CLOCK = "clock"

    @property
    def of_service(self) -> bool:
        """Whether it takes an answer of the service."""
        return self not in (CheckId.PROGRAM, CheckId.FILES, CheckId.JOURNAL, CheckId.PROXY)

    @property
    def label(self) -> str:
        """The name of the check for people."""
        return self.value.replace("_", " ").capitalize()


class CheckStatus(StrEnum):
    """The result of a check; ``SKIPPED`` means that it could not be made."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


class Check(Struct, frozen=True, kw_only=True):
    """One question and its answer. ``finding`` and ``repair`` are phrases without a final stop.

    ``reason`` is what the command exits with for a failed check; ``OK`` for any other.
    """

    id: CheckId
    status: CheckStatus
    finding: str
    repair: str = ""
    reason: ExitReason = ExitReason.OK


class JournalFacts(Struct, frozen=True, kw_only=True):
    """What is in a journal, of all services; ``None`` of a run where there was none, or where it has no end."""

    version: int
    records: int
    open_intents: int
    last_run: int | None
    last_started_ms: int | None
    last_ended: str | None


class ServiceAnswer(Struct, frozen=True, kw_only=True):
    """An answer of the service to one read, whatever its status. Server text in here is already harmless.

    Times are UTC epoch milliseconds; ``date_ms`` is the ``Date`` header, whole seconds cut off. ``limits`` are the
    rate-limit headers by name. ``glider`` says that the body is one of Glider's envelopes. ``scopes`` is ``None``
    where the answer carries none.
    """

    status: int
    sent_ms: int
    received_ms: int
    date_ms: int | None = None
    limits: tuple[tuple[str, str], ...] = ()
    glider: bool = False
    scopes: frozenset[str] | None = None
    tenant: str | None = None


Probed = ServiceAnswer | ApiError
"""What came of one read: an answer, or none."""


class Routes(Struct, frozen=True, kw_only=True):
    """What a GET of the POST-only ``pause`` gave in each v1 path family, and of a route that can't exist.

    All below one portfolio whose status was just read.
    """

    reference: Probed
    guide: Probed
    nowhere: Probed


class Asking(Struct, frozen=True, kw_only=True):
    """All that the service was asked. ``whoami`` holds at least one answer or failure.

    ``portfolio`` is the status of one declared v1 portfolio, ``None`` where none is declared.
    """

    whoami: tuple[Probed, ...]
    portfolio: Probed | None
    routes: Routes | None

    @property
    def answers(self) -> tuple[ServiceAnswer, ...]:
        """All answers, in the order in which they came."""
        return tuple(one for one in (*self.whoami, self.portfolio) if isinstance(one, ServiceAnswer))

    @property
    def timed(self) -> tuple[ServiceAnswer, ...]:
        """The answers to whoami, which is asked more than once to see how long an answer takes."""
        return tuple(one for one in self.whoami if isinstance(one, ServiceAnswer))

    @property
    def who(self) -> ServiceAnswer | None:
        """The last answer to whoami, ``None`` where there is none."""
        return self.timed[-1] if self.timed else None


def exit_reason(checks: Iterable[Check]) -> ExitReason:
    """Return what the checks exit with: the key before the service, and both before anything else."""
    reasons = {check.reason for check in checks if check.status is CheckStatus.FAIL}
    for grave in (ExitReason.PERMISSION, ExitReason.UNREACHABLE):
        if grave in reasons:
            return grave
    return ExitReason.ERROR if reasons else ExitReason.OK


def ok(check: CheckId, finding: str) -> Check:
    """Return a check that found all well."""
    return Check(id=check, status=CheckStatus.OK, finding=finding)


def warn(check: CheckId, finding: str, repair: str = "") -> Check:
    """Return a check that found something to look at."""
    return Check(id=check, status=CheckStatus.WARN, finding=finding, repair=repair)


def fail(check: CheckId, finding: str, repair: str, reason: ExitReason = ExitReason.ERROR) -> Check:
    """Return a check that found something that stops a plan or an apply."""
    return Check(id=check, status=CheckStatus.FAIL, finding=finding, repair=repair, reason=reason)


def skipped(check: CheckId, finding: str) -> Check:
    """Return a check that could not be made."""
    return Check(id=check, status=CheckStatus.SKIPPED, finding=finding)


def counts(checks: Iterable[Check]) -> Mapping[CheckStatus, int]:
    """Return how many checks had each result."""
    found = [check.status for check in checks]
    return {status: found.count(status) for status in CheckStatus}


def not_asked(failed: Check) -> tuple[Check, ...]:
    """Return the checks of the service when it could not be asked at all: ``failed`` is the reason for each."""
    every = (check for check in CheckId if check.of_service)
    return tuple(failed if check is failed.id else skipped(check, "the service was not asked") for check in every)


def check_files(invalid: ConfigInvalid | None, found: tuple[int, int, int] | None) -> Check:
    """Judge the files; ``found`` counts portfolios and strategies, files, and warnings, ``None`` without files."""
    if invalid is not None:
        return fail(CheckId.FILES, invalid.summary, "`reconciler validate` names each of them")
    if found is None:
        return skipped(CheckId.FILES, "there is no automation.yaml or automation/ here; name files with -f")
    declared, files, warnings = found
    finding = f"valid: {declared} declared in {plural(files, 'file')}"
    if warnings:
        return warn(CheckId.FILES, f"{finding}, {plural(warnings, 'warning')}", "`reconciler validate` tells them")
    return ok(CheckId.FILES, finding)


def check_journal(path: str, found: JournalFacts | ReconcilerError | None) -> Check:
    """Judge the journal; ``None`` where there is none."""
    if found is None:
        return ok(CheckId.JOURNAL, f"there is no {path} yet; the first apply makes it")
    if isinstance(found, ReconcilerError):
        return fail(CheckId.JOURNAL, str(found), found.detail.rstrip("."))
    run = "no run yet"
    if found.last_run is not None:
        ended = found.last_ended.replace("_", " ") if found.last_ended else "has no end yet"
        began = iso(found.last_started_ms)[:16].replace("T", " ") if found.last_started_ms is not None else "?"
        run = f"last run {found.last_run} ({began} UTC): {ended}"
    finding = f"{path}, format {found.version}, {plural(found.records, 'record')}, {run}"
    if found.open_intents:
        repair = "an apply is at work, or one died; the next one finds out what became of them"
        return warn(CheckId.JOURNAL, f"{finding}, {plural(found.open_intents, 'write')} without an outcome", repair)
    return ok(CheckId.JOURNAL, finding)


def check_service(asking: Asking, where: str) -> Check:
    """Judge whether anything that is Glider answers at all."""
    first = asking.whoami[0]
    if isinstance(first, ApiError):
        repair = "check the base URL, the network and the proxy"
        return fail(CheckId.SERVICE, f"{where}: {first}", repair, exit_reason_of(first.kind))
    if any(500 <= one.status < 600 for one in asking.answers):
        worst = max(one.status for one in asking.answers)
        return fail(CheckId.SERVICE, f"{where} answers HTTP {worst}", "try again later", ExitReason.UNREACHABLE)
    if not any(one.glider for one in asking.answers):
        finding = f"{where} answers HTTP {first.status}, but not as Glider does"
        return fail(CheckId.SERVICE, finding, "check the base URL, and that no proxy or gateway stands in between")
    return ok(CheckId.SERVICE, f"{where} answers")


def check_key(asking: Asking) -> Check:
    """Judge the key: by whoami, and where that does not tell, by the status of a portfolio (API facts §1.3, §2.7)."""
    check, repair = CheckId.KEY, f"check GLIDER_API_KEY and the base URL; keys are kept at {CONSOLE}"
    answers = [one for one in (asking.who, asking.portfolio) if isinstance(one, ServiceAnswer)]
    if any(one.status == 401 for one in answers):
        return fail(check, "Glider does not accept it", repair, ExitReason.PERMISSION)
    for one in answers:
        if one.status == 200 and one.glider:
            return ok(check, "accepted" if one is answers[0] else "accepted for a v1 portfolio")
    if answers and answers[0].status == 403 and answers[0].glider:
        return ok(check, "accepted; a legacy static key, whose scopes Glider does not tell")
    if any(one.status == 403 for one in answers):
        return fail(check, "Glider refuses it (HTTP 403)", repair, ExitReason.PERMISSION)
    if any(one.status == 404 and one.glider for one in answers[1:]):
        return ok(check, "accepted; the portfolio asked for is not there")
    return skipped(check, "nothing that was answered tells whether it is good")


def check_account(asking: Asking, expected: Expect) -> Check:
    """Say whose key it is, and judge it by whom the files expect."""
    check = CheckId.ACCOUNT
    if asking.who is None:
        return skipped(check, "nothing answered")
    tenant = asking.who.tenant if asking.who.status == 200 else None
    if tenant is None and expected.account is not None:
        finding = f"the files expect {expected.account}, and whose key this is can't be known; an apply does not go on"
        return warn(check, finding, "use a key that Glider names an account for, or leave account out of the files")
    if tenant is None:
        return skipped(check, "Glider does not tell it")
    if said := mismatch(expected, account=tenant):
        return fail(check, said, "use the key that belongs to these files, or other files", ExitReason.PERMISSION)
    name = label(tenant) or "one without a name"
    return ok(check, name if expected.account is None else f"{name}, as the files expect")


def check_scopes(asking: Asking, *, read: Sequence[str], write: Sequence[str]) -> Check:
    """Judge the key's scopes against those that the declared v2 portfolios and strategies need (API facts §2.7)."""
    check = CheckId.SCOPES
    scopes = asking.who.scopes if asking.who is not None and asking.who.status == 200 else None
    if scopes is None:
        return skipped(check, "Glider does not tell them")
    told = ", ".join(sorted(scopes)) or "none"
    repair = f"add it to the key at {CONSOLE}"
    if lacking := [scope for scope in read if scope not in scopes]:
        return fail(check, f"{told}; to read, {' and '.join(lacking)} is missing", repair, ExitReason.PERMISSION)
    if lacking := [scope for scope in write if scope not in scopes]:
        return warn(check, f"{told}; an apply needs {' and '.join(lacking)}, a plan does not", repair)
    return ok(check, told)


def needed_scopes(
    portfolios: Iterable[Desired | Change], *, strategies: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what reading and what writing these needs, where scopes are documented (API facts §2.7)."""
    nouns = ["portfolios"] if any(one.api.can.has_scopes for one in portfolios) else []
    nouns += ["strategies"] if strategies else []
    return tuple(f"{noun}:read" for noun in nouns), tuple(f"{noun}:write" for noun in nouns)


def check_paths(asking: Asking, configured: Paths) -> Check:
    """Judge which v1 path families are there, by inference: 405 says that a route exists, 404 that it does not."""
    check = CheckId.PATHS
    routes = asking.routes
    if isinstance(asking.whoami[0], ApiError):
        return skipped(check, "nothing answered")
    if asking.portfolio is None:
        return skipped(check, "no v1 portfolio is declared to ask with")
    if routes is None:
        return skipped(check, "the status of a declared v1 portfolio could not be read, so a 404 would prove nothing")
    if routes.nowhere.status != 404:
        return skipped(check, "the service does not tell a route that is there from one that is not")
    there = {Paths.REFERENCE: _is_there(routes.reference), Paths.GUIDE: _is_there(routes.guide)}
    words = {None: "not known", True: "there", False: "not there"}
    told = ", ".join(f"{paths.value} {words[found]}" for paths, found in there.items())
    finding = f"{told} (inferred from HTTP 405 and 404; service.paths is {configured.value})"
    if configured is not Paths.AUTO and there[configured] is False:
        return warn(check, finding, "set `service: {paths: auto}`")
    if all(found is False for found in there.values()):
        return warn(check, finding, "check that the base URL is Glider's")
    if all(found is None for found in there.values()):
        return skipped(check, finding)
    return ok(check, finding)


def check_latency(asking: Asking) -> Check:
    """Judge how long reads take."""
    times = sorted(one.received_ms - one.sent_ms for one in asking.timed)
    if not times:
        return skipped(CheckId.LATENCY, "nothing answered")
    middle = times[len(times) // 2]
    finding = f"{middle} ms (median of {plural(len(times), 'read')})"
    if middle > SLOW_MS:
        return warn(CheckId.LATENCY, finding, "raise --parallelism within the rate limit, or look at the network")
    return ok(CheckId.LATENCY, finding)


def check_rate_limit(asking: Asking) -> Check:
    """Show what the last answer says is left (API facts §2.3, §2.5)."""
    check = CheckId.RATE_LIMIT
    if not asking.answers:
        return skipped(check, "nothing answered")
    limited = any(one.status == 429 for one in asking.answers)
    limits = dict(next((one.limits for one in reversed(asking.answers) if one.limits), ()))
    told = ", ".join(f"{name} {value}" for name, value in limits.items()) or "no headers sent"
    if limited or limits.get("remaining") == "0":
        return warn(check, f"used up: {told}", "wait; it is counted per IP address, over all that runs there")
    return ok(check, told)


def check_clock(asking: Asking) -> Check:
    """Judge this machine's clock by the ``Date`` header, which is cut to whole seconds."""
    check = CheckId.CLOCK
    dated = [
        (one.received_ms - one.sent_ms, (one.sent_ms + one.received_ms) // 2 - (one.date_ms + 500))
        for one in asking.timed
        if one.date_ms is not None
    ]
    if not dated:
        return skipped(check, "no answer carries its time")
    _, off_ms = min(dated, key=lambda pair: pair[0])  # the quickest answer spent the least time on its way
    if abs(off_ms) <= SKEWED_MS:
        return ok(check, "differs from the service's by a few seconds at most")
    way = "ahead of" if off_ms > 0 else "behind"
    return warn(check, f"{abs(off_ms) / 1000:.0f} s {way} the service's", "let the machine set its clock by NTP")


def service_checks(
    asking: Asking, *, where: str, configured: Paths, expected: Expect, read: Sequence[str], write: Sequence[str]
) -> tuple[Check, ...]:
    """Return every check of what the service was asked, in the order of display."""
    return (
        check_service(asking, where),
        check_key(asking),
        check_account(asking, expected),
        check_scopes(asking, read=read, write=write),
        check_paths(asking, configured),
        check_latency(asking),
        check_rate_limit(asking),
        check_clock(asking),
    )


def _is_there(asked: Probed) -> bool | None:
    """Return whether a POST-only route exists, ``None`` where its answer to a GET does not tell."""
    return {405: True, 404: False}.get(asked.status or 0)
