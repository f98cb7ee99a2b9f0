"""Errors: their exit codes, what a failed call says of itself, and whether it may have taken effect."""

from __future__ import annotations

import re

import pytest

from reconciler.core import errors
from reconciler.core.diagnostics import Diagnostic, Severity
from reconciler.core.errors import (
    ApiError,
    ConfigInvalid,
    ExitReason,
    FailureKind,
    GuardRefused,
    JournalBusy,
    JournalError,
    NotExpected,
    PlanInvalid,
    ReconcilerError,
    SandboxError,
    StalePlan,
    UsageError,
    exit_reason_of,
)

CODES = {
    "ok": 0,
    "error": 1,
    "changes": 2,
    "invalid": 3,
    "stale": 4,
    "guard": 5,
    "partial": 6,
    "permission": 7,
    "unreachable": 8,
    "usage": 64,
    "interrupted": 130,
    "terminated": 143,
}


def test_exit_codes() -> None:
    """Every reason to exit has its word and its code; scripts rely on both."""
    assert {reason.word: reason.code for reason in ExitReason} == CODES


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (ReconcilerError, ExitReason.ERROR),
        (ConfigInvalid, ExitReason.INVALID),
        (PlanInvalid, ExitReason.INVALID),
        (StalePlan, ExitReason.STALE),
        (GuardRefused, ExitReason.GUARD),
        (NotExpected, ExitReason.PERMISSION),
        (UsageError, ExitReason.USAGE),
        (JournalError, ExitReason.ERROR),
        (JournalBusy, ExitReason.ERROR),
        (SandboxError, ExitReason.ERROR),
        (ApiError, ExitReason.ERROR),
    ],
)
def test_every_error_owns_its_exit_code(kind: type[ReconcilerError], reason: ExitReason) -> None:
    """The class of an error decides what the program exits with."""
    assert kind.exit_reason is reason


def test_the_tree_names_every_error() -> None:
    """With its exit code and word, in the page of the module."""
    tree = dict(re.findall(r"── (\w+) +(.+)", errors.__doc__ or ""))
    kinds = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, ReconcilerError)}
    assert tree.keys() == {one.__name__ for one in kinds} - {"ReconcilerError"}
    for one in kinds - {ReconcilerError, ApiError}:  # an ApiError's kind decides
        assert tree[one.__name__].split()[:2] == [str(one.exit_reason.code), one.exit_reason.word], one


def test_summary_and_detail() -> None:
    """An error is its summary; the detail is kept beside it, and may be missing."""
    error = PlanInvalid("cut", "Make it again.")
    assert (str(error), error.summary, error.detail) == ("cut", "cut", "Make it again.")
    assert ReconcilerError("cut").detail == ""


@pytest.mark.parametrize(
    ("count", "revision", "summary"),
    [
        (0, "", "the configuration has 0 problems"),
        (1, "", "the configuration has 1 problem"),
        (2, "", "the configuration has 2 problems"),
        (1, "main", "the configuration at main has 1 problem"),
        (2, "v1", "the configuration at v1 has 2 problems"),
    ],
)
def test_config_invalid(count: int, revision: str, summary: str) -> None:
    """The summary counts the problems and names the revision; the diagnostics are kept."""
    diagnostics = (Diagnostic(Severity.ERROR, "x"),) * count
    error = ConfigInvalid(diagnostics, revision=revision)
    assert (error.summary, error.diagnostics) == (summary, diagnostics)


def test_without_a_revision() -> None:
    """Where no revision is given, the files as they are were read."""
    assert ConfigInvalid(()).summary == "the configuration has 0 problems"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ApiError(FailureKind.SERVER, "it failed"), "it failed"),
        (ApiError(FailureKind.SERVER, "it failed", status=503), "it failed (HTTP 503)"),
        (ApiError(FailureKind.SERVER, "it failed", status=0), "it failed (HTTP 0)"),
        (ApiError(FailureKind.REFUSED, "no", code="SCHEDULE_X"), "no (SCHEDULE_X)"),
        (ApiError(FailureKind.REFUSED, "no", request_id="r1"), "no (request r1)"),
        (ApiError(FailureKind.REFUSED, "no", correlation_id="c1"), "no (correlation c1)"),
        (ApiError(FailureKind.REFUSED, "no", code="", request_id="", correlation_id=""), "no"),
        (
            ApiError(FailureKind.REFUSED, "no", status=400, code="BAD", request_id="r1", correlation_id="c1"),
            "no (HTTP 400, BAD, request r1, correlation c1)",
        ),
    ],
)
def test_what_support_needs(error: ApiError, text: str) -> None:
    """The text of a failed call holds whatever the service gave for support, in this order."""
    assert str(error) == text


def test_what_a_failed_call_carries() -> None:
    """Every fact of a failed call is kept under its name; what is not given is none."""
    error = ApiError(
        FailureKind.RATE_LIMITED,
        "slow down",
        operation="pause",
        status=429,
        code="RATE",
        request_id="r1",
        correlation_id="c1",
        retry_after_ms=250,
    )
    assert (error.kind, error.summary, error.operation, error.status, error.code) == (
        FailureKind.RATE_LIMITED,
        "slow down",
        "pause",
        429,
        "RATE",
    )
    assert (error.request_id, error.correlation_id, error.retry_after_ms, error.detail) == ("r1", "c1", 250, "")
    bare = ApiError(FailureKind.SERVER, "x")
    assert (bare.operation, bare.status, bare.code) == ("", None, None)
    assert (bare.request_id, bare.correlation_id, bare.retry_after_ms) == (None, None, None)


KINDS = {
    FailureKind.NOT_FOUND: (False, ExitReason.ERROR),
    FailureKind.REFUSED: (False, ExitReason.ERROR),
    FailureKind.UNAUTHENTICATED: (False, ExitReason.PERMISSION),
    FailureKind.FORBIDDEN: (False, ExitReason.PERMISSION),
    FailureKind.RATE_LIMITED: (False, ExitReason.UNREACHABLE),
    FailureKind.UNREACHABLE: (False, ExitReason.UNREACHABLE),
    FailureKind.INTERRUPTED: (True, ExitReason.UNREACHABLE),
    FailureKind.SERVER: (True, ExitReason.UNREACHABLE),
    FailureKind.MALFORMED: (True, ExitReason.ERROR),
}


@pytest.mark.parametrize("kind", FailureKind)
def test_kinds(kind: FailureKind) -> None:
    """Every kind of failure says whether a write may have taken effect, and what a run ends with for it alone."""
    effect, reason = KINDS[kind]
    assert ApiError(kind, "x").may_have_taken_effect is effect
    assert exit_reason_of(kind) is reason
