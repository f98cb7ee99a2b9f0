"""The checks of ``doctor`` over values: one table a check, and what they make the command exit with."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.doctor import (
    Asking,
    Check,
    CheckId,
    CheckStatus,
    JournalFacts,
    Probed,
    Routes,
    ServiceAnswer,
    check_account,
    check_clock,
    check_files,
    check_journal,
    check_key,
    check_latency,
    check_paths,
    check_rate_limit,
    check_scopes,
    check_service,
    counts,
    exit_reason,
    fail,
    needed_scopes,
    not_asked,
    ok,
    service_checks,
    skipped,
    warn,
)
from reconciler.core.endpoint import NOTHING, Expect
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, FailureKind, JournalError
from reconciler.core.model import ApiVersion, Desired, Paths, PortfolioId, RunState
from reconciler.render.doctor import doctor_document, doctor_page
from reconciler.render.terminal import PLAIN, terminal
from tests.support import NOON_MS

OK, WARN, FAIL, SKIPPED = CheckStatus


def answer(status: int = 200, took_ms: int = 40, **fields: object) -> ServiceAnswer:
    found = ServiceAnswer(status=status, sent_ms=NOON_MS, received_ms=NOON_MS + took_ms, glider=True)
    return replace(found, **fields)


def lost(kind: FailureKind = FailureKind.UNREACHABLE) -> ApiError:
    return ApiError(kind, "no connection")


def asking(*whoami: Probed, portfolio: Probed | None = None, routes: Routes | None = None) -> Asking:
    return Asking(whoami=whoami or (answer(),), portfolio=portfolio, routes=routes)


def outcome(check: Check) -> tuple[CheckStatus, ExitReason]:
    return check.status, check.reason


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (asking(), OK, ExitReason.OK),
        (asking(answer(401)), OK, ExitReason.OK),
        (asking(answer(200, glider=False)), FAIL, ExitReason.ERROR),
        (asking(answer(404, glider=False), portfolio=answer()), OK, ExitReason.OK),
        (asking(answer(503, glider=False)), FAIL, ExitReason.UNREACHABLE),
        (asking(lost()), FAIL, ExitReason.UNREACHABLE),
        (asking(lost(FailureKind.INTERRUPTED)), FAIL, ExitReason.UNREACHABLE),
        (asking(lost(FailureKind.MALFORMED)), FAIL, ExitReason.ERROR),
    ],
)
def test_the_service(asked: Asking, status: CheckStatus, reason: ExitReason) -> None:
    """Anything that answers as Glider does is Glider, whatever it says."""
    assert outcome(check_service(asked, "https://api.glider.fi")) == (status, reason)


@pytest.mark.parametrize(
    ("asked", "status", "reason"),
    [
        (asking(answer(tenant="Acme")), OK, ExitReason.OK),
        (asking(answer(401)), FAIL, ExitReason.PERMISSION),
        # A legacy static key (API facts §1.3, V2.10); a 403 of a gateway is something else.
        (asking(answer(403)), OK, ExitReason.OK),
        (asking(answer(403, glider=False)), FAIL, ExitReason.PERMISSION),
        (asking(answer(403), portfolio=answer(401)), FAIL, ExitReason.PERMISSION),
        (asking(answer(404, glider=False), portfolio=answer()), OK, ExitReason.OK),
        (asking(answer(404, glider=False), portfolio=answer(403)), FAIL, ExitReason.PERMISSION),
        (asking(answer(404, glider=False), portfolio=answer(404)), OK, ExitReason.OK),
        (asking(answer(404, glider=False)), SKIPPED, ExitReason.OK),
        (asking(answer(503, glider=False), portfolio=lost()), SKIPPED, ExitReason.OK),
        (asking(answer(429)), SKIPPED, ExitReason.OK),
        (asking(lost()), SKIPPED, ExitReason.OK),
        (asking(answer(), answer(), lost()), OK, ExitReason.OK),
    ],
)
def test_the_key(asked: Asking, status: CheckStatus, reason: ExitReason) -> None:
    """The key is good where whoami or a portfolio says so, bad where either refuses it, and else not judged."""
    assert outcome(check_key(asked)) == (status, reason)


ACME = Expect(account="Acme")
TELLS_NOT = "Glider does not tell it"
NOBODY_KNOWS = "the files expect Acme, and whose key this is can't be known; an apply does not go on"


@pytest.mark.parametrize(
    ("whoami", "expected", "status", "finding"),
    [
        (answer(tenant="Acme"), NOTHING, OK, "Acme"),
        (answer(tenant="Acme"), ACME, OK, "Acme, as the files expect"),
        (answer(tenant="Acme"), Expect(url="https://api.glider.fi"), OK, "Acme"),
        (answer(tenant="x" * 300), Expect(account="x" * 199 + "…"), OK, "x" * 199 + "…, as the files expect"),
        (answer(tenant="US"), ACME, FAIL, "the files expect the account Acme, and this key belongs to US"),
        (answer(), NOTHING, SKIPPED, TELLS_NOT),
        (answer(), ACME, WARN, NOBODY_KNOWS),
        (answer(403), NOTHING, SKIPPED, TELLS_NOT),
        (answer(403, tenant="Acme"), ACME, WARN, NOBODY_KNOWS),
        (lost(), ACME, SKIPPED, "nothing answered"),
    ],
)
def test_whose_key_it_is(whoami: Probed, expected: Expect, status: CheckStatus, finding: str) -> None:
    """The account is told, another one than expected fails as the key does, one that nobody knows stops only writes."""
    found = check_account(asking(whoami), expected)
    assert (found.status, found.finding) == (status, finding)
    assert found.reason is (ExitReason.PERMISSION if status is FAIL else ExitReason.OK)
    assert bool(found.repair) is (status in (FAIL, WARN))


BOTH = frozenset({"portfolios:read", "portfolios:write"})


@pytest.mark.parametrize(
    ("scopes", "needed", "status", "reason"),
    [
        (None, ("portfolios",), SKIPPED, ExitReason.OK),
        (frozenset[str](), (), OK, ExitReason.OK),
        (BOTH, ("portfolios",), OK, ExitReason.OK),
        (BOTH, ("portfolios", "strategies"), FAIL, ExitReason.PERMISSION),
        (frozenset({"portfolios:read"}), ("portfolios",), WARN, ExitReason.OK),
        (frozenset({"portfolios:write"}), ("portfolios",), FAIL, ExitReason.PERMISSION),
    ],
)
def test_the_scopes(
    scopes: frozenset[str] | None, needed: tuple[str, ...], status: CheckStatus, reason: ExitReason
) -> None:
    """What reading needs fails where it is missing; what only writing needs is a warning."""
    read, write = ([f"{noun}:{what}" for noun in needed] for what in ("read", "write"))
    assert outcome(check_scopes(asking(answer(scopes=scopes)), read=read, write=write)) == (status, reason)


def test_only_v2_needs_scopes() -> None:
    """What is declared decides which scopes are needed (API facts §2.7)."""
    one = Desired(id=PortfolioId("a"), state=RunState.ACTIVE)
    assert needed_scopes([one], strategies=False) == ((), ())
    assert needed_scopes([one, replace(one, api=ApiVersion.V2)], strategies=True) == (
        ("portfolios:read", "strategies:read"),
        ("portfolios:write", "strategies:write"),
    )


def routes(reference: int, guide: int, nowhere: int = 404) -> Routes:
    return Routes(reference=answer(reference), guide=answer(guide), nowhere=answer(nowhere))


@pytest.mark.parametrize(
    ("found", "configured", "status", "said"),
    [
        (routes(405, 405), Paths.AUTO, OK, "reference there, guide there"),
        (routes(405, 404), Paths.AUTO, OK, "reference there, guide not there"),
        (routes(404, 405), Paths.AUTO, OK, "reference not there, guide there"),
        (routes(404, 405), Paths.GUIDE, OK, "service.paths is guide"),
        (routes(404, 405), Paths.REFERENCE, WARN, "service.paths is reference"),
        (routes(405, 404), Paths.GUIDE, WARN, "service.paths is guide"),
        (routes(404, 404), Paths.AUTO, WARN, "reference not there, guide not there"),
        (routes(405, 400), Paths.AUTO, OK, "reference there, guide not known"),
        (routes(200, 500), Paths.AUTO, SKIPPED, "reference not known, guide not known"),
        (routes(405, 405, 405), Paths.AUTO, SKIPPED, "does not tell a route that is there from one that is not"),
        (None, Paths.AUTO, SKIPPED, "could not be read, so a 404 would prove nothing"),
    ],
)
def test_the_path_families(found: Routes | None, configured: Paths, status: CheckStatus, said: str) -> None:
    """405 says that a route is there and 404 that it is not, if the service tells the two apart at all."""
    check = check_paths(asking(portfolio=answer(), routes=found), configured)
    assert check.status is status
    assert said in check.finding
    assert check.status is not OK or "inferred" in check.finding


def test_paths_need_a_portfolio() -> None:
    """Without a portfolio, or without an answer, nothing is inferred."""
    assert check_paths(asking(), Paths.AUTO).finding == "no v1 portfolio is declared to ask with"
    assert check_paths(asking(lost()), Paths.AUTO).finding == "nothing answered"


@pytest.mark.parametrize(
    ("took", "status", "said"),
    [
        ([40, 900, 60], OK, "60 ms (median of 3 reads)"),
        ([3000, 2001, 90], WARN, "2001 ms (median of 3 reads)"),
        ([2000], OK, "2000 ms (median of 1 read)"),
        ([], SKIPPED, "nothing answered"),
    ],
)
def test_the_latency(took: list[int], status: CheckStatus, said: str) -> None:
    """The middle of the reads counts, so that setting up a connection does not."""
    check = check_latency(asking(*(answer(took_ms=ms) for ms in took), *([] if took else [lost()])))
    assert (check.status, check.finding) == (status, said)


@pytest.mark.parametrize(
    ("answers", "status", "said"),
    [
        ([answer()], OK, "no headers sent"),
        ([answer(limits=(("limit", "60"), ("remaining", "12")))], OK, "limit 60, remaining 12"),
        ([answer(limits=(("remaining", "0"), ("reset", "1700")))], WARN, "used up: remaining 0, reset 1700"),
        ([answer(limits=(("remaining", "3"),)), answer(limits=(("remaining", "2"),))], OK, "remaining 2"),
        ([answer(429)], WARN, "used up: no headers sent"),
        ([lost()], SKIPPED, "nothing answered"),
    ],
)
def test_the_rate_limit(answers: list[Probed], status: CheckStatus, said: str) -> None:
    """The newest headers are shown; nothing left, or a 429, is a warning."""
    check = check_rate_limit(asking(*answers))
    assert (check.status, check.finding) == (status, said)


@pytest.mark.parametrize(
    ("off_s", "status", "said"),
    [
        (0, OK, "differs from the service's by a few seconds at most"),
        (4, OK, "differs from the service's by a few seconds at most"),
        (7, WARN, "7 s ahead of the service's"),
        (-60, WARN, "60 s behind the service's"),
        (None, SKIPPED, "no answer carries its time"),
    ],
)
def test_the_clock(off_s: int | None, status: CheckStatus, said: str) -> None:
    """More than five seconds between this clock and the service's is a warning."""
    date_ms = None if off_s is None else NOON_MS - off_s * 1000
    check = check_clock(asking(answer(date_ms=date_ms)))
    assert (check.status, check.finding) == (status, said)


FACTS = JournalFacts(version=1, records=3, open_intents=0, last_run=12, last_started_ms=NOON_MS, last_ended="cut_off")


@pytest.mark.parametrize(
    ("found", "status", "said"),
    [
        (None, OK, "there is no j.db yet; the first apply makes it"),
        (FACTS, OK, "j.db, format 1, 3 records, last run 12 (2026-11-22 12:00 UTC): cut off"),
        (
            replace(FACTS, last_ended=None),
            OK,
            "j.db, format 1, 3 records, last run 12 (2026-11-22 12:00 UTC): has no end yet",
        ),
        (replace(FACTS, last_run=None), OK, "j.db, format 1, 3 records, no run yet"),
        (
            replace(FACTS, open_intents=1, last_run=None),
            WARN,
            "j.db, format 1, 3 records, no run yet, 1 write without an outcome",
        ),
        (JournalError("it is damaged", "Move it."), FAIL, "it is damaged"),
    ],
)
def test_the_journal(found: JournalFacts | JournalError | None, status: CheckStatus, said: str) -> None:
    """A journal that is not there is fine, one that can't be used is not."""
    check = check_journal("j.db", found)
    assert (check.status, check.finding) == (status, said)


def test_the_files() -> None:
    """Warnings of the files are a warning, errors a failure, and no files are no verdict."""
    assert check_files(None, (3, 1, 0)) == ok(CheckId.FILES, "valid: 3 declared in 1 file")
    assert check_files(None, (3, 2, 1)).status is WARN
    assert outcome(check_files(ConfigInvalid(()), None)) == (FAIL, ExitReason.ERROR)
    assert check_files(None, None).status is SKIPPED


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [
        ([], ExitReason.OK),
        ([ExitReason.ERROR], ExitReason.ERROR),
        ([ExitReason.ERROR, ExitReason.UNREACHABLE], ExitReason.UNREACHABLE),
        ([ExitReason.UNREACHABLE, ExitReason.PERMISSION, ExitReason.ERROR], ExitReason.PERMISSION),
    ],
)
def test_the_gravest_failure_decides(reasons: list[ExitReason], expected: ExitReason) -> None:
    """The key counts before the service, and both before anything else; warnings never count."""
    checks = [fail(CheckId.KEY, "", "", reason) for reason in reasons]
    assert exit_reason([ok(CheckId.FILES, ""), warn(CheckId.CLOCK, ""), *checks]) is expected


def test_every_check_is_told_in_its_order() -> None:
    """Probed or not, the service's checks are the same ones in the same order."""
    made = service_checks(asking(), where="x", configured=Paths.AUTO, expected=NOTHING, read=(), write=())
    failed = fail(CheckId.KEY, "not set", "set it", ExitReason.PERMISSION)
    order = list(CheckId)[list(CheckId).index(CheckId.SERVICE) :]
    assert [check.id for check in made] == [check.id for check in not_asked(failed)] == order
    assert counts(not_asked(failed)) == {OK: 0, WARN: 0, FAIL: 1, SKIPPED: 7}


def test_one_screen() -> None:
    """A line a check, the repair below it, and nothing of hostile text comes alive."""
    checks = [
        ok(CheckId.SERVICE, "a answers"),
        warn(CheckId.RATE_LIMIT, "used up: \x1b[31m", "wait"),
        fail(CheckId.KEY, "no", "set it"),
        skipped(CheckId.CLOCK, "unknown"),
    ]
    assert terminal(doctor_page(checks), PLAIN) == (
        "  ok         Service     a answers\n"
        "  ! warn     Rate limit  used up: \\u{1b}[31m\n"
        "                         → wait\n"
        "  x fail     Key         no\n"
        "                         → set it\n"
        "  - skipped  Clock       unknown\n"
        "\n"
        "Doctor: 1 ok, 1 warning, 1 failed, 1 skipped.\n"
    )
    assert doctor_document(checks)[1] == {
        "id": "rate_limit",
        "title": "Rate limit",
        "status": "warn",
        "finding": "used up: \x1b[31m",
        "repair": "wait",
    }
