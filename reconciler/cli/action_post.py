"""What the action posts on GitHub: the comment of a pull request, and the issue that tells of drift.

In: how a command ended, the inputs, and what GitHub tells every step. Out: posts, and a sentence for each that failed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.action_inputs import Command, Comment, Inputs
from reconciler.core.errors import ExitReason
from reconciler.render import github

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.render.ending import Ending

COMMENTED: Final = (Command.PLAN, Command.APPLY)
"""What comments: the other commands would overwrite a plan's comment with less."""

DRIFT_LABEL: Final = "drift"


def post(ending: Ending, inputs: Inputs, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Post what the inputs ask for; return a sentence for each post that could not be made."""
    event = _event(environ)
    number = pull_request_of(event)
    comments = number is not None and inputs.comment is not Comment.FALSE and inputs.command in COMMENTED
    if not comments and not inputs.issue:
        return ()
    token, repository = environ.get("GITHUB_TOKEN", ""), environ.get("GITHUB_REPOSITORY", "")
    if not token or not repository:
        return ("nothing was posted: the input `github-token` is empty",)
    from reconciler.github.client import GitHub, GitHubError

    failures = []
    marker = github.comment_marker(environ.get("GITHUB_WORKFLOW", ""), inputs.environment)
    commit = str(_at(event, "pull_request", "head", "sha") or environ.get("GITHUB_SHA", ""))
    api_url = environ.get("GITHUB_API_URL") or "https://api.github.com"
    try:
        with GitHub(api_url=api_url, token=token, repository=repository) as client:
            if comments and number is not None:
                client.upsert_comment(
                    number,
                    marker=marker,
                    body=github.comment_body(ending, marker=marker, commit=commit, environment=inputs.environment),
                    create=inputs.comment is Comment.TRUE or has_something_to_say(ending),
                )
            if inputs.issue:
                _keep_issue(client, ending, inputs, marker=marker, commit=commit)
    except GitHubError as error:
        detail = f" {error.detail}" if error.detail else ""
        failures.append(f"{error.summary}.{detail}")
    return tuple(failures)


def _keep_issue(client: Any, ending: Ending, inputs: Inputs, *, marker: str, commit: str) -> None:
    """Open or update the issue while there is drift, close it when there is none; errors leave it as it is."""
    body = github.comment_body(ending, marker=marker, commit=commit, environment=inputs.environment)
    match ending.reason:
        case ExitReason.CHANGES:
            where = f" ({inputs.environment})" if inputs.environment else ""
            title = f"Drift of portfolio automation{where}"
            client.upsert_issue(marker=marker, title=title, body=body, label=DRIFT_LABEL)
        case ExitReason.OK:
            client.close_issue(marker=marker, body="Live automation is as declared again.", label=DRIFT_LABEL)
        case _:
            pass


def has_something_to_say(ending: Ending) -> bool:
    """Whether a reviewer should know of it: a change, a hold, a block or an error."""
    plan = ending.plan
    if ending.reason not in (ExitReason.OK, ExitReason.CHANGES) or plan is None:
        return True
    return bool(plan.changes or plan.held or plan.blocked or plan.moved)


def pull_request_of(event: Mapping[str, Any]) -> int | None:
    """Return the number of the pull request that an event is about, ``None`` where it is about none."""
    number = _at(event, "pull_request", "number")
    if number is None and _at(event, "issue", "pull_request") is not None:
        number = _at(event, "issue", "number")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > 0 else None


def _event(environ: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        event = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_text("utf-8"))
    except (KeyError, OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _at(event: Any, *keys: str) -> Any:
    for key in keys:
        event = event.get(key) if isinstance(event, dict) else None
    return event
