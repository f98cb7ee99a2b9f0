"""The checks of ``doctor`` as whole values: every finding, every repair, and where a judgement turns."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from reconciler.core.doctor import (
    Asking,
    Check,
    CheckId,
    Routes,
    ServiceAnswer,
    check_clock,
    check_files,
    check_journal,
    check_key,
    check_latency,
    check_paths,
    check_rate_limit,
    check_scopes,
    check_service,
    fail,
    not_asked,
    ok,
    service_checks,
    skipped,
    warn,
)
from reconciler.core.endpoint import NOTHING
from reconciler.core.errors import ApiError, ConfigInvalid, ExitReason, FailureKind, JournalError
from reconciler.core.model import Paths
from tests.core.test_doctor import FACTS, answer, asking, lost, routes
from tests.support import NOON_MS

SERVICE, KEY, SCOPES, PATHS = CheckId.SERVICE, CheckId.KEY, CheckId.SCOPES, CheckId.PATHS
LATENCY, RATE_LIMIT, CLOCK = CheckId.LATENCY, CheckId.RATE_LIMIT, CheckId.CLOCK
URL = "https://api.glider.fi"
OTHER = answer(404, glider=False)
NO_PERMISSION, NO_SERVICE = ExitReason.PERMISSION, ExitReason.UNREACHABLE


def answers_as(status: int) -> Check:
    """Return the failed check of a service that answers with this status of its own."""
    return fail(SERVICE, f"{URL} answers HTTP {status}", "try again later", NO_SERVICE)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (asking(), ok(SERVICE, f"{URL} answers")),
        (
            asking(lost()),
            fail(SERVICE, f"{URL}: no connection", "check the base URL, the network and the proxy", NO_SERVICE),
        ),
        (asking(answer(500)), answers_as(500)),
        (asking(answer(599)), answers_as(599)),
        (asking(answer(), portfolio=answer(502)), answers_as(502)),
        (asking(answer(499)), ok(SERVICE, f"{URL} answers")),
        (asking(answer(600)), ok(SERVICE, f"{URL} answers")),
        (
            asking(OTHER),
            fail(
                SERVICE,
                f"{URL} answers HTTP 404, but not as Glider does",
                "check the base URL, and that no proxy or gateway stands in between",
            ),
        ),
    ],
)
def test_the_service_in_words(asked: Asking, expected: Check) -> None:
    """A failure of the service, of whatever stands before it, and of the way to it are told apart."""
    assert check_service(asked, URL) == expected


CHECK_KEY = "check GLIDER_API_KEY and the base URL; keys are kept at console.glidercloud.dev"
REFUSED = fail(KEY, "Glider refuses it (HTTP 403)", CHECK_KEY, NO_PERMISSION)
NOBODY_TELLS = skipped(KEY, "nothing that was answered tells whether it is good")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (asking(answer(tenant="Acme")), ok(KEY, "accepted")),
        (asking(answer()), ok(KEY, "accepted")),
        (asking(answer(), portfolio=answer()), ok(KEY, "accepted")),
        (asking(OTHER, portfolio=answer()), ok(KEY, "accepted for a v1 portfolio")),
        (asking(answer(401)), fail(KEY, "Glider does not accept it", CHECK_KEY, NO_PERMISSION)),
        (asking(answer(403)), ok(KEY, "accepted; a legacy static key, whose scopes Glider does not tell")),
        (asking(answer(403, glider=False)), REFUSED),
        (asking(OTHER, portfolio=answer(403)), REFUSED),
        (asking(OTHER, portfolio=answer(404)), ok(KEY, "accepted; the portfolio asked for is not there")),
        (asking(OTHER, portfolio=answer(404, glider=False)), NOBODY_TELLS),
        (asking(OTHER, portfolio=answer(429)), NOBODY_TELLS),
        (asking(answer(404)), NOBODY_TELLS),
        (asking(answer(200, glider=False)), NOBODY_TELLS),
        (asking(lost()), NOBODY_TELLS),
    ],
)
def test_the_key_in_words(asked: Asking, expected: Check) -> None:
    """Who accepted it is said, and of a refused one what to check."""
    assert check_key(asked) == expected


ADD_IT = "add it to the key at console.glidercloud.dev"
TELLS_NONE = skipped(SCOPES, "Glider does not tell them")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (asking(lost()), TELLS_NONE),
        (asking(answer()), TELLS_NONE),
        (asking(answer(403, scopes=frozenset({"r1", "r2", "w1", "w2"}))), TELLS_NONE),
        (asking(answer(scopes=frozenset({"w2", "w1", "r2", "r1"}))), ok(SCOPES, "r1, r2, w1, w2")),
        (
            asking(answer(scopes=frozenset())),
            fail(SCOPES, "none; to read, r1 and r2 is missing", ADD_IT, NO_PERMISSION),
        ),
        (
            asking(answer(scopes=frozenset({"r1", "r2", "w1"}))),
            warn(SCOPES, "r1, r2, w1; an apply needs w2, a plan does not", ADD_IT),
        ),
        (
            asking(answer(scopes=frozenset({"r1", "r2"}))),
            warn(SCOPES, "r1, r2; an apply needs w1 and w2, a plan does not", ADD_IT),
        ),
    ],
)
def test_the_scopes_in_words(asked: Asking, expected: Check) -> None:
    """What the key has is told in order, then what is missing and for what."""
    assert check_scopes(asked, read=["r1", "r2"], write=["w1", "w2"]) == expected


def inferred(reference: str, guide: str, configured: str = "auto") -> str:
    return f"reference {reference}, guide {guide} (inferred from HTTP 405 and 404; service.paths is {configured})"


HALF_LOST = Routes(reference=answer(405), guide=lost(), nowhere=answer(404))
SET_AUTO = "set `service: {paths: auto}`"
NO_ORACLE = "the service does not tell a route that is there from one that is not"
NO_STATUS = "the status of a declared v1 portfolio could not be read, so a 404 would prove nothing"


@pytest.mark.parametrize(
    ("found", "configured", "expected"),
    [
        (routes(405, 405), Paths.AUTO, ok(PATHS, inferred("there", "there"))),
        (HALF_LOST, Paths.AUTO, ok(PATHS, inferred("there", "not known"))),
        (HALF_LOST, Paths.GUIDE, ok(PATHS, inferred("there", "not known", "guide"))),
        (routes(404, 405), Paths.REFERENCE, warn(PATHS, inferred("not there", "there", "reference"), SET_AUTO)),
        (routes(404, 404), Paths.GUIDE, warn(PATHS, inferred("not there", "not there", "guide"), SET_AUTO)),
        (
            routes(404, 404),
            Paths.AUTO,
            warn(PATHS, inferred("not there", "not there"), "check that the base URL is Glider's"),
        ),
        (routes(404, 500), Paths.AUTO, ok(PATHS, inferred("not there", "not known"))),
        (routes(500, 500), Paths.AUTO, skipped(PATHS, inferred("not known", "not known"))),
        (routes(405, 405, 405), Paths.AUTO, skipped(PATHS, NO_ORACLE)),
        (None, Paths.AUTO, skipped(PATHS, NO_STATUS)),
    ],
)
def test_the_path_families_in_words(found: Routes | None, configured: Paths, expected: Check) -> None:
    """Both families are told with how that is known, and what to set where the wrong one is."""
    assert check_paths(asking(portfolio=answer(), routes=found), configured) == expected


def test_paths_that_can_not_be_asked_for() -> None:
    """Without an answer or a portfolio there is no verdict, and the words say which of both lacks."""
    assert check_paths(asking(), Paths.AUTO) == skipped(PATHS, "no v1 portfolio is declared to ask with")
    assert check_paths(asking(lost()), Paths.AUTO) == skipped(PATHS, "nothing answered")


def took(*times: int) -> Asking:
    return asking(*(answer(took_ms=ms) for ms in times))


FASTER = "raise --parallelism within the rate limit, or look at the network"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (took(2_000), ok(LATENCY, "2000 ms (median of 1 read)")),
        (took(2_001), warn(LATENCY, "2001 ms (median of 1 read)", FASTER)),
        (took(50, 10, 20, 40, 30), ok(LATENCY, "30 ms (median of 5 reads)")),
        (asking(lost()), skipped(LATENCY, "nothing answered")),
    ],
)
def test_the_latency_in_words(asked: Asking, expected: Check) -> None:
    """The middle of all reads is told, and what may help where it is long."""
    assert check_latency(asked) == expected


WAIT = "wait; it is counted per IP address, over all that runs there"
LEFT, LESS = (("limit", "60"), ("remaining", "9")), (("remaining", "8"),)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (asking(lost()), skipped(RATE_LIMIT, "nothing answered")),
        (asking(), ok(RATE_LIMIT, "no headers sent")),
        (asking(answer(limits=LEFT)), ok(RATE_LIMIT, "limit 60, remaining 9")),
        (asking(answer(limits=LEFT), answer(limits=LESS), answer()), ok(RATE_LIMIT, "remaining 8")),
        (asking(answer(limits=LEFT), portfolio=answer(limits=LESS)), ok(RATE_LIMIT, "remaining 8")),
        (
            asking(answer(limits=(("remaining", "0"),))),
            warn(RATE_LIMIT, "used up: remaining 0", WAIT),
        ),
        (
            asking(answer(429, limits=LEFT), answer()),
            warn(RATE_LIMIT, "used up: limit 60, remaining 9", WAIT),
        ),
    ],
)
def test_the_rate_limit_in_words(asked: Asking, expected: Check) -> None:
    """The newest headers that were sent are told, and what to do where nothing is left."""
    assert check_rate_limit(asked) == expected


def off_by(ms: int, took_ms: int = 0) -> ServiceAnswer:
    """Return an answer that shows this clock ahead by so much."""
    return answer(took_ms=took_ms, date_ms=NOON_MS + took_ms // 2 - ms - 500)


LATER = ServiceAnswer(status=200, sent_ms=NOON_MS + 9_000, received_ms=NOON_MS + 9_040, date_ms=NOON_MS + 8_000)
"""Faster than one before it, although both its times are later."""
AGREES = ok(CLOCK, "differs from the service's by a few seconds at most")
BY_NTP = "let the machine set its clock by NTP"


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([off_by(5_000)], AGREES),
        ([off_by(-5_000)], AGREES),
        ([off_by(5_001)], warn(CLOCK, "5 s ahead of the service's", BY_NTP)),
        ([off_by(-5_001)], warn(CLOCK, "5 s behind the service's", BY_NTP)),
        ([off_by(600_499, took_ms=40)], warn(CLOCK, "600 s ahead of the service's", BY_NTP)),
        ([off_by(60_000, took_ms=900), off_by(1_000, took_ms=40), off_by(60_000, took_ms=800)], AGREES),
        ([off_by(1_000, took_ms=40), answer(took_ms=1)], AGREES),
        ([off_by(3_600_000)], warn(CLOCK, "3600 s ahead of the service's", BY_NTP)),
        ([answer(took_ms=1, date_ms=NOON_MS - 5_500)], AGREES),
        ([off_by(60_000, took_ms=900), LATER], AGREES),
        ([answer()], skipped(CLOCK, "no answer carries its time")),
        ([lost()], skipped(CLOCK, "no answer carries its time")),
    ],
)
def test_the_clock_in_words(answers: list[ServiceAnswer | ApiError], expected: Check) -> None:
    """The fastest answer with a time counts, and five seconds are still in order."""
    assert check_clock(asking(*answers)) == expected


def test_all_checks_are_told_what_they_need() -> None:
    """Base URL, paths and scopes reach their checks; the last answer speaks for the key."""
    asked = asking(answer(scopes=frozenset({"r"})), lost(), portfolio=answer(), routes=routes(405, 404))
    made = {
        check.id: check
        for check in service_checks(
            asked, where=URL, configured=Paths.GUIDE, expected=NOTHING, read=("r",), write=("w",)
        )
    }
    assert made[SERVICE] == ok(SERVICE, f"{URL} answers")
    assert made[KEY] == ok(KEY, "accepted")
    assert made[SCOPES] == warn(SCOPES, "r; an apply needs w, a plan does not", ADD_IT)
    assert made[PATHS] == warn(PATHS, inferred("there", "not there", "guide"), SET_AUTO)
    lacking = service_checks(asked, where=URL, configured=Paths.AUTO, expected=NOTHING, read=("other",), write=())[3]
    assert lacking.finding == "r; to read, other is missing"


def test_the_service_that_was_not_asked() -> None:
    """Every check but the failed one says so."""
    failed = fail(CheckId.PROXY, "not a URL", "set it")
    every = (SERVICE, KEY, CheckId.ACCOUNT, SCOPES, PATHS, LATENCY, RATE_LIMIT, CLOCK)
    assert not_asked(failed) == tuple(skipped(check, "the service was not asked") for check in every)


def test_the_files_in_words() -> None:
    """Their number, their warnings and where to see more."""
    files = CheckId.FILES
    assert check_files(None, (3, 2, 0)) == ok(files, "valid: 3 declared in 2 files")
    assert check_files(None, (1, 1, 2)) == warn(
        files, "valid: 1 declared in 1 file, 2 warnings", "`reconciler validate` tells them"
    )
    assert check_files(ConfigInvalid(()), None) == fail(
        files, "the configuration has 0 problems", "`reconciler validate` names each of them"
    )
    assert check_files(None, None) == skipped(
        files, "there is no automation.yaml or automation/ here; name files with -f"
    )


def test_the_journal_in_words() -> None:
    """Its facts, and the way out of an open write or a damaged file."""
    journal, told = CheckId.JOURNAL, "j.db, format 1, 3 records"
    assert check_journal("j.db", None) == ok(journal, "there is no j.db yet; the first apply makes it")
    assert check_journal("j.db", replace(FACTS, last_run=None)) == ok(journal, f"{told}, no run yet")
    assert check_journal("j.db", replace(FACTS, last_run=None, open_intents=2)) == warn(
        journal,
        f"{told}, no run yet, 2 writes without an outcome",
        "an apply is at work, or one died; the next one finds out what became of them",
    )
    assert check_journal("j.db", replace(FACTS, last_started_ms=None)) == ok(
        journal, f"{told}, last run 12 (? UTC): cut off"
    )
    assert check_journal("j.db", JournalError("it is damaged", "Move it away.")) == fail(
        journal, "it is damaged", "Move it away"
    )
    assert check_journal("j.db", JournalError("it is damaged", ".X.")).repair == ".X"


def test_a_warning_needs_no_repair() -> None:
    """What nothing can be done about is only told."""
    assert warn(CLOCK, "odd") == Check(id=CLOCK, status=warn(CLOCK, "").status, finding="odd", repair="")


def test_a_failure_of_the_service_keeps_its_kind() -> None:
    """What it exits with is the kind of the failure."""
    assert check_service(asking(ApiError(FailureKind.MALFORMED, "odd")), URL).reason is ExitReason.ERROR
