"""Every error that the program raises on purpose, and the exit code of each.

    ReconcilerError               1  error
    ├── ConfigInvalid             3  invalid       the files; carries every diagnostic
    ├── PlanInvalid               3  invalid       a plan file that is not one, or was edited
    ├── LiveInvalid               3  invalid       a live file that is not one
    ├── ExportInvalid             3  invalid       an export of a journal that is not one
    ├── HaltInvalid               3  invalid       the file of a halt that is not one
    ├── StalePlan                 4  stale         what was approved is not what would run
    ├── GuardRefused              5  guard         over a limit of the configuration
    ├── NotExpected               7  permission    another service or account than the files expect
    ├── UsageError               64  usage         flags that make no sense together
    ├── JournalError              1  error         the journal can't be opened, read or written
    │   └── JournalBusy           1  error         another apply is at work with it
    ├── SandboxError              1  error         the embedded Glider's file or seed
    ├── GitHubError               1  error         a post on GitHub; never what a run ends with
    └── ApiError                  1, 7 or 8        a call to Glider; its kind decides

Knows no library: whoever maps a library's exception keeps it as ``__cause__``. No message holds a key or a header.
"""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from reconciler.core.diagnostics import Diagnostic


class ExitReason(Enum):
    """Why the program ended, as a word (``exit_reason`` in JSON) and as an exit code; the only table of them."""

    OK = ("ok", 0)
    ERROR = ("error", 1)
    CHANGES = ("changes", 2)
    INVALID = ("invalid", 3)
    STALE = ("stale", 4)
    GUARD = ("guard", 5)
    PARTIAL = ("partial", 6)
    PERMISSION = ("permission", 7)
    UNREACHABLE = ("unreachable", 8)
    USAGE = ("usage", 64)
    INTERRUPTED = ("interrupted", 130)
    TERMINATED = ("terminated", 143)

    @property
    def word(self) -> str:
        """The word that stands in JSON output."""
        return self.value[0]

    @property
    def code(self) -> int:
        """The process's exit code."""
        return self.value[1]


class ReconcilerError(Exception):
    """The base: a summary line, sentences of detail that end in the repair, and the reason to exit with."""

    exit_reason = ExitReason.ERROR

    def __init__(self, summary: str, detail: str = "") -> None:
        super().__init__(summary)
        self.summary = summary
        self.detail = detail


class ConfigInvalid(ReconcilerError):
    """The configuration can't be used; ``diagnostics`` holds every problem, in file order.

    ``revision`` names the Git revision it was read at, ``""`` for the files as they are. ``what`` is the kind of file.
    """

    exit_reason = ExitReason.INVALID

    def __init__(self, diagnostics: tuple[Diagnostic, ...], *, revision: str = "", what: str = "configuration") -> None:
        count = len(diagnostics)
        at = f" at {revision}" if revision else ""
        super().__init__(f"the {what}{at} has {count} problem{'' if count == 1 else 's'}")
        self.diagnostics = diagnostics


class PlanInvalid(ReconcilerError):
    """A plan file that can't be read, is of another major format, or does not match its own fingerprint."""

    exit_reason = ExitReason.INVALID


class LiveInvalid(ReconcilerError):
    """A live file that can't be read, has another major format, or holds values that no read can have returned."""

    exit_reason = ExitReason.INVALID


class ExportInvalid(ReconcilerError):
    """An export of a journal that can't be read, has another major format, or holds values that no journal has."""

    exit_reason = ExitReason.INVALID


class HaltInvalid(ReconcilerError):
    """The file of a halt that can't be read, has another major format, or holds values that no halt has."""

    exit_reason = ExitReason.INVALID


class StalePlan(ReconcilerError):
    """A plan for another service or from an earlier look at it, or changes that the approval does not cover."""

    exit_reason = ExitReason.STALE


class GuardRefused(ReconcilerError):
    """The plan is over a limit; the detail names the flag that allows the number."""

    exit_reason = ExitReason.GUARD


class NotExpected(ReconcilerError):
    """The service, or the account that the key belongs to, is another one than the files expect."""

    exit_reason = ExitReason.PERMISSION


class UsageError(ReconcilerError):
    """Flags or environment that make no sense; found after the command line was parsed."""

    exit_reason = ExitReason.USAGE


class JournalError(ReconcilerError):
    """The journal file can't be opened, read or written."""


class JournalBusy(JournalError):
    """Another apply holds the journal; it may be tried again."""


class SandboxError(ReconcilerError):
    """The embedded Glider's file is missing or damaged, or its seed makes no sense."""


class GitHubError(ReconcilerError):
    """A comment or an issue that could not be posted; whoever asked for it warns and goes on.

    ``status`` is the HTTP status, ``None`` without an answer. It is 429 for every rate limit, because GitHub answers
    some of them with 403. ``may_have_taken_effect`` says that a request which creates something may have succeeded
    although it failed here.
    """

    def __init__(
        self, summary: str, detail: str = "", *, status: int | None = None, may_have_taken_effect: bool = False
    ) -> None:
        super().__init__(summary, detail)
        self.status = status
        self.may_have_taken_effect = may_have_taken_effect


class FailureKind(StrEnum):
    """What went wrong with one call to Glider (API facts §2.4: decide by HTTP status first, code second)."""

    NOT_FOUND = "not_found"
    """404: no such portfolio, or not ours."""
    REFUSED = "refused"
    """Another 4xx: the service understood and said no. Nothing was changed."""
    UNAUTHENTICATED = "unauthenticated"
    """401, or no key at all: every further call would fail alike."""
    FORBIDDEN = "forbidden"
    """403: the key is good, but not for this."""
    RATE_LIMITED = "rate_limited"
    """429 to the end of the retries. Nothing was changed."""
    UNREACHABLE = "unreachable"
    """No connection: nothing was sent."""
    INTERRUPTED = "interrupted"
    """The request may have been sent, but no whole answer came: time-out, reset, cut answer."""
    SERVER = "server"
    """5xx: the service failed, perhaps after doing the work."""
    MALFORMED = "malformed"
    """An answer that is not what the service documents: not JSON, too large, about another portfolio."""


class ApiError(ReconcilerError):
    """A call to Glider that failed.

    ``status``, ``code``, ``request_id`` and ``correlation_id`` are as the service gave them, made harmless and
    cut; ``None`` where it gave none. ``may_have_taken_effect`` is what a writer must know before it does anything
    else: false means the call is proven not to have changed a thing. ``other_route`` says that there was no such route,
    and that the same call, made again, takes the other one that the documents name.
    """

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        operation: str = "",
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        correlation_id: str | None = None,
        retry_after_ms: int | None = None,
        other_route: bool = False,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.operation = operation
        self.status = status
        self.code = code
        self.request_id = request_id
        self.correlation_id = correlation_id
        self.retry_after_ms = retry_after_ms
        self.other_route = other_route

    @property
    def may_have_taken_effect(self) -> bool:
        """Whether a write that ended like this may have been carried out all the same."""
        match self.kind:
            case FailureKind.INTERRUPTED | FailureKind.SERVER | FailureKind.MALFORMED:
                return True
            case (
                FailureKind.NOT_FOUND
                | FailureKind.REFUSED
                | FailureKind.UNAUTHENTICATED
                | FailureKind.FORBIDDEN
                | FailureKind.RATE_LIMITED
                | FailureKind.UNREACHABLE
            ):
                return False
            case _:
                assert_never(self.kind)

    def __str__(self) -> str:
        """Return the message followed by what support needs: status, code and ids."""
        facts = [f"HTTP {self.status}"] if self.status is not None else []
        facts += [self.code] if self.code else []
        facts += [f"request {self.request_id}"] if self.request_id else []
        facts += [f"correlation {self.correlation_id}"] if self.correlation_id else []
        return f"{self.summary} ({', '.join(facts)})" if facts else self.summary


def exit_reason_of(kind: FailureKind) -> ExitReason:
    """Return what a run that failed for this reason alone exits with."""
    match kind:
        case FailureKind.UNAUTHENTICATED | FailureKind.FORBIDDEN:
            return ExitReason.PERMISSION
        case FailureKind.UNREACHABLE | FailureKind.RATE_LIMITED | FailureKind.INTERRUPTED | FailureKind.SERVER:
            return ExitReason.UNREACHABLE
        case FailureKind.NOT_FOUND | FailureKind.REFUSED | FailureKind.MALFORMED:
            return ExitReason.ERROR
        case _:
            assert_never(kind)
