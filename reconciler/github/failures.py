"""What GitHub's refusals and failures mean: a sentence with its repair, and how long to wait where that helps.

In: status, headers and body. Out: a :class:`GitHubError`, or seconds to wait. Before GitHub's words are repeated, they
are made harmless and cut, and the token is taken out.
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.core.errors import GitHubError
from reconciler.core.text import harmless

if TYPE_CHECKING:
    from collections.abc import Mapping

UNNAMED_LIMIT_S: Final = 60.0
"""Seconds to wait after a secondary rate limit that names no time; GitHub's documents ask for at least a minute."""


def limit_seconds(status: int, headers: Mapping[str, str], content: bytes) -> float | None:
    """Return how many seconds a rate limit asks to wait; ``None`` for any other answer. Header names in lower case.

    GitHub limits with 429 or 403 and says so in one of three ways: with ``Retry-After``, with ``X-RateLimit-Remaining:
    0`` and ``X-RateLimit-Reset``, or only in its message. That reset is compared with the answer's own ``Date`` and not
    with our clock.
    """
    if status not in (403, 429):
        return None
    asked = headers.get("retry-after", "")
    if _is_number(asked):
        return float(asked)
    exhausted = headers.get("x-ratelimit-remaining") == "0"
    if exhausted and _is_number(headers.get("x-ratelimit-reset", "")):
        try:
            present = parsedate_to_datetime(headers.get("date", "")).timestamp()
        except (ValueError, TypeError, IndexError, OverflowError):
            return UNNAMED_LIMIT_S
        return max(1.0, float(headers["x-ratelimit-reset"]) - present)
    limited = status == 429 or exhausted or "rate limit" in _message(content).lower()
    return UNNAMED_LIMIT_S if limited else None


def github_failure(
    status: int, content: bytes, *, permission: str, limited_s: float | None, secret: str
) -> GitHubError:
    """Return the error of an answer that is no success."""
    said = _message(content).replace(secret, "[token]")
    told = next((words for word, words in _REFUSALS.items() if word in said.lower()), None) if status == 403 else None
    summary, repair = told if told and limited_s is None else _words(status, permission, limited_s)
    summary = f"{summary} (HTTP {status}{': ' + harmless(said, longest=160) if said else ''})"
    # GitHub may limit with a 403. It becomes a 429 here, so that callers don't take it for a missing permission.
    status = 429 if limited_s is not None else status
    return GitHubError(summary, repair, status=status, may_have_taken_effect=status >= 500)


_REFUSALS: Final = {
    "is locked": (
        "the conversation is locked, and this token may not write in it",
        "Unlock it on GitHub, or set `comment: false` or `issue: false`.",
    ),
    "archived": ("the repository is archived, so nothing can be written there", "Unarchive it on GitHub."),
    "saml": (
        "the organization wants the token to be authorized for its single sign-on",
        "Authorize it in the settings of the token's owner, or pass `${{ github.token }}`.",
    ),
}
"""Words in the message of a 403 that mean something other than a missing permission."""


def _words(status: int, permission: str, limited_s: float | None) -> tuple[str, str]:
    if limited_s is not None:
        return "GitHub limits the rate of requests", f"Run it again in {limited_s:.0f} s or later."
    match status:
        case 401:
            return "GitHub refused the token", "Pass `${{ github.token }}`, or a token that has not expired."
        case 403:
            give = f"Give the job `{permission}` under permissions" if permission else "Give the token more permissions"
            return (
                "the token may not do this",
                f"{give}. For a pull request from a fork it can't have them: ignore this there.",
            )
        case 404:
            return "GitHub has no such thing, or the token may not see it", "Check the repository and the number."
        case 410:
            return "issues are switched off in this repository", "Switch them on, or set `issue: false`."
        case 422:
            return "GitHub refused the text", "The brackets hold its reason."
        case _ if 300 <= status < 400:
            return (
                "GitHub answered with a redirect, which is not followed",
                "A repository that was renamed has a new GITHUB_REPOSITORY.",
            )
        case _ if status >= 500:
            return "GitHub failed", "Run it again later; see githubstatus.com."
        case _:
            return "GitHub refused the request", "The brackets hold its reason."


def _message(content: bytes) -> str:
    """Return the message of an error's body, and what it says of single fields; nothing where it is something else."""
    try:
        document = json.loads(content[:65_536])
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    told = [document.get("message"), *(_told(error) for error in (errors if isinstance(errors, list) else [])[:3])]
    return "; ".join(text for text in told if isinstance(text, str) and text)


def _told(error: Any) -> str:
    if isinstance(error, dict):
        return " ".join(text for key in ("field", "code", "message") if isinstance(text := error.get(key), str))
    return error if isinstance(error, str) else ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 12
