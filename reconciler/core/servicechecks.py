"""What the answers of the service to a few reads say: is it Glider, is the key good, which paths are there.

In: :class:`Asking`, what was asked and answered. Out: one :class:`~reconciler.core.doctor.Check` a question. None of
them is a guess that is not called one. Knows no socket and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.core.desired import ApiVersion
from reconciler.core.doctor import Check, CheckId, fail, ok, skipped, warn
from reconciler.core.errors import ApiError, ExitReason, exit_reason_of
from reconciler.core.expect import account_label, mismatch
from reconciler.core.paths import Paths
from reconciler.core.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.core.desired import Desired
    from reconciler.core.expect import Expect

SLOW_MS: Final = 2_000
"""A read that takes longer makes the plan of a large fleet a matter of many minutes."""
SKEWED_MS: Final = 5_000
"""A clock further off than this makes times in reports, and a date in ``Retry-After``, wrong."""
CONSOLE: Final = "console.glidercloud.dev"
"""Where keys and their scopes are kept (API facts §2.7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
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


Asked = Answer | ApiError
"""What came of one read: an answer, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """What a GET of the POST-only ``pause`` gave in each v1 path family, and of a route that can't exist.

    All below one portfolio whose status was just read.
    """

    reference: Asked
    guide: Asked
    nowhere: Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """All that the service was asked. ``whoami`` holds at least one answer or failure.

    ``portfolio`` is the status of one declared v1 portfolio, ``None`` where none is declared.
    """

    whoami: tuple[Asked, ...]
    portfolio: Asked | None
    routes: Routes | None


def check_service(asking: Asking, where: str) -> Check:
    """Judge whether anything that is Glider answers at all."""
    first = asking.whoami[0]
    if isinstance(first, ApiError):
        repair = "check the base URL, the network and the proxy"
        return fail(CheckId.SERVICE, f"{where}: {first}", repair, exit_reason_of(first.kind))
    answers = [one for one in (*asking.whoami, asking.portfolio) if isinstance(one, Answer)]
    if any(500 <= one.status < 600 for one in answers):
        worst = max(one.status for one in answers)
        return fail(CheckId.SERVICE, f"{where} answers HTTP {worst}", "try again later", ExitReason.UNREACHABLE)
    if not any(one.glider for one in answers):
        finding = f"{where} answers HTTP {first.status}, but not as Glider does"
        return fail(CheckId.SERVICE, finding, "check the base URL, and that no proxy or gateway stands in between")
    return ok(CheckId.SERVICE, f"{where} answers")


def check_key(asking: Asking) -> Check:
    """Judge the key: by whoami, and where that does not tell, by the status of a portfolio (API facts §1.3, §2.7)."""
    check, repair = CheckId.KEY, f"check GLIDER_API_KEY and the base URL; keys are kept at {CONSOLE}"
    answers = [one for one in (_last(asking.whoami), asking.portfolio) if isinstance(one, Answer)]
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
    found = _last(asking.whoami)
    if isinstance(found, ApiError):
        return skipped(check, "nothing answered")
    tenant = found.tenant if found.status == 200 else None
    if tenant is None and expected.account is not None:
        finding = f"the files expect {expected.account}, and whose key this is can't be known; an apply does not go on"
        return warn(check, finding, "use a key that Glider names an account for, or leave account out of the files")
    if tenant is None:
        return skipped(check, "Glider does not tell it")
    if said := mismatch(expected, account=tenant):
        return fail(check, said, "use the key that belongs to these files, or other files", ExitReason.PERMISSION)
    name = account_label(tenant) or "one without a name"
    return ok(check, name if expected.account is None else f"{name}, as the files expect")


def check_scopes(asking: Asking, *, read: Sequence[str], write: Sequence[str]) -> Check:
    """Judge the key's scopes against those that the declared v2 portfolios and strategies need (API facts §2.7)."""
    check = CheckId.SCOPES
    found = _last(asking.whoami)
    scopes = found.scopes if isinstance(found, Answer) and found.status == 200 else None
    if scopes is None:
        return skipped(check, "Glider does not tell them")
    told = ", ".join(sorted(scopes)) or "none"
    repair = f"add it to the key at {CONSOLE}"
    if lacking := [scope for scope in read if scope not in scopes]:
        return fail(check, f"{told}; to read, {_and(lacking)} is missing", repair, ExitReason.PERMISSION)
    if lacking := [scope for scope in write if scope not in scopes]:
        return warn(check, f"{told}; an apply needs {_and(lacking)}, a plan does not", repair)
    return ok(check, told)


def needed_scopes(desired: Iterable[Desired], *, strategies: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what reading and what writing the declared needs; v1 documents no scopes (API facts §1.1, §2.7)."""
    nouns = ["portfolios"] if any(one.api is ApiVersion.V2 for one in desired) else []
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
    told = ", ".join(f"{paths.value} {_there_text(found)}" for paths, found in there.items())
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
    times = [one.received_ms - one.sent_ms for one in asking.whoami if isinstance(one, Answer)]
    if not times:
        return skipped(CheckId.LATENCY, "nothing answered")
    middle = sorted(times)[len(times) // 2]
    finding = f"{middle} ms (median of {plural(len(times), 'read')})"
    if middle > SLOW_MS:
        return warn(CheckId.LATENCY, finding, "raise --parallelism within the rate limit, or look at the network")
    return ok(CheckId.LATENCY, finding)


def check_rate_limit(asking: Asking) -> Check:
    """Show what the last answer says is left (API facts §2.3, §2.5)."""
    check = CheckId.RATE_LIMIT
    answers = [one for one in (*asking.whoami, asking.portfolio) if isinstance(one, Answer)]
    if not answers:
        return skipped(check, "nothing answered")
    limited = any(one.status == 429 for one in answers)
    limits = dict(next((one.limits for one in reversed(answers) if one.limits), ()))
    told = ", ".join(f"{name} {value}" for name, value in limits.items()) or "no headers sent"
    if limited or limits.get("remaining") == "0":
        return warn(check, f"used up: {told}", "wait; it is counted per IP address, over all that runs there")
    return ok(check, told)


def check_clock(asking: Asking) -> Check:
    """Judge this machine's clock by the ``Date`` header, which is cut to whole seconds."""
    check = CheckId.CLOCK
    answers = [one for one in asking.whoami if isinstance(one, Answer)]
    found = min(
        (one for one in answers if one.date_ms is not None), key=lambda one: one.received_ms - one.sent_ms, default=None
    )
    if found is None or found.date_ms is None:
        return skipped(check, "no answer carries its time")
    off_ms = (found.sent_ms + found.received_ms) // 2 - (found.date_ms + 500)
    if abs(off_ms) <= SKEWED_MS:
        return ok(check, "agrees with the service's to some seconds")
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


def _last(asked: Sequence[Asked]) -> Asked:
    """Return the last answer, else the last failure."""
    return next((one for one in reversed(asked) if isinstance(one, Answer)), asked[-1])


def _is_there(asked: Asked) -> bool | None:
    """Return whether a POST-only route exists, ``None`` where its answer to a GET does not tell."""
    return {405: True, 404: False}.get(asked.status or 0)


def _there_text(found: bool | None) -> str:
    return "not known" if found is None else "there" if found else "not there"


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)
