"""What GitHub hands to a run for each event: the ``github`` context, and the payload behind ``GITHUB_EVENT_PATH``.

In: the name of an event and what a test wants else. Out: an ``Event``. Only what our action may look at is there.
https://docs.github.com/en/actions/reference/workflows-and-actions/variables
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

REPOSITORY = "acme/portfolios"
BASE_SHA = "1" * 40
HEAD_SHA = "2" * 40
MERGE_SHA = "3" * 40
TOKEN = "ghs_canary_9b1d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event: ``github`` holds the context but for what the runner adds; ``payload`` is what was sent."""

    name: str
    github: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict)

    def having(self, **github: Any) -> Event:
        """Return the event with other values in its context."""
        return replace(self, github={**self.github, **github})


def _repository(name: str) -> dict[str, Any]:
    owner, _, short = name.partition("/")
    return {"full_name": name, "name": short, "owner": {"login": owner}, "fork": name != REPOSITORY}


def _base(name: str, *, ref: str, sha: str) -> dict[str, Any]:
    kind, _, short = ref.removeprefix("refs/").partition("/")
    return {
        "event_name": name,
        "ref": ref,
        "ref_name": short,
        "ref_type": "tag" if kind == "tags" else "branch",
        "ref_protected": "true" if short == "main" else "false",
        "sha": sha,
        "head_ref": "",
        "base_ref": "",
        "repository": REPOSITORY,
        "repository_id": "4711",
        "repository_owner": REPOSITORY.partition("/")[0],
        "repository_owner_id": "42",
        "actor": "octocat",
        "actor_id": "1",
        "triggering_actor": "octocat",
        "workflow": "portfolios",
        "workflow_ref": f"{REPOSITORY}/.github/workflows/portfolios.yml@{ref}",
        "workflow_sha": sha,
        "job": "glider",
        "run_id": "1001",
        "run_number": "7",
        "run_attempt": "1",
        "retention_days": "90",
        "server_url": "https://github.com",
        "api_url": "https://api.github.com",
        "graphql_url": "https://api.github.com/graphql",
        "token": TOKEN,
    }


def push(*, ref: str = "refs/heads/main", sha: str = HEAD_SHA, before: str = BASE_SHA) -> Event:
    """Return a push of one commit."""
    payload = {"ref": ref, "before": before, "after": sha, "repository": _repository(REPOSITORY), "commits": []}
    return Event(name="push", github=_base("push", ref=ref, sha=sha), payload=payload)


def pull_request(
    *, number: int = 7, head: str = HEAD_SHA, base: str = BASE_SHA, merge: str = MERGE_SHA, fork: bool = False
) -> Event:
    """Return an update of a pull request, from a branch of the repository or from a fork.

    A fork's job gets a token that may read only and no secrets: the caller passes none.
    """
    github = _base("pull_request", ref=f"refs/pull/{number}/merge", sha=merge)
    github |= {"ref_name": f"{number}/merge", "head_ref": "topic", "base_ref": "main"}
    source = "stranger/portfolios" if fork else REPOSITORY
    pull = {
        "number": number,
        "title": "Pause Growth",
        "head": {"ref": "topic", "sha": head, "repo": _repository(source)},
        "base": {"ref": "main", "sha": base, "repo": _repository(REPOSITORY)},
        "user": {"login": source.partition("/")[0]},
    }
    payload = {
        "action": "synchronize",
        "number": number,
        "pull_request": pull,
        "repository": _repository(REPOSITORY),
    }
    return Event(name="pull_request", github=github, payload=payload)


def merge_group(*, number: int = 7, sha: str = HEAD_SHA) -> Event:
    """Return a merge queue's try of one pull request on top of those before it."""
    ref = f"refs/heads/gh-readonly-queue/main/pr-{number}-{BASE_SHA}"
    group = {"head_ref": ref, "base_ref": "refs/heads/main", "head_sha": sha, "base_sha": BASE_SHA}
    payload = {"action": "checks_requested", "merge_group": group, "repository": _repository(REPOSITORY)}
    return Event(name="merge_group", github=_base("merge_group", ref=ref, sha=sha), payload=payload)


def workflow_run(*numbers: int, head: str = HEAD_SHA, sha: str = MERGE_SHA, by: str = "pull_request") -> Event:
    """Return a run after another workflow's, which was about these pull requests; of a fork's, GitHub names none."""
    pulls = [{"number": number, "base": {"ref": "main", "repo": {"id": 4711}}} for number in numbers]
    run = {"event": by, "head_sha": head, "pull_requests": pulls}
    payload = {"action": "completed", "workflow_run": run, "repository": {**_repository(REPOSITORY), "id": 4711}}
    return Event(name="workflow_run", github=_base("workflow_run", ref="refs/heads/main", sha=sha), payload=payload)


def issue_comment(*, number: int = 7, pull: bool = True, sha: str = MERGE_SHA) -> Event:
    """Return a comment on a pull request or an issue; it runs on the default branch."""
    issue = {"number": number, **({"pull_request": {"url": "x"}} if pull else {})}
    payload = {"action": "created", "issue": issue, "comment": {"body": "/plan"}, "repository": _repository(REPOSITORY)}
    return Event(name="issue_comment", github=_base("issue_comment", ref="refs/heads/main", sha=sha), payload=payload)


def schedule(*, cron: str = "0 6 * * *", sha: str = HEAD_SHA) -> Event:
    """Return a run by the clock; it is always on the default branch."""
    payload = {"schedule": cron, "repository": _repository(REPOSITORY)}
    return Event(name="schedule", github=_base("schedule", ref="refs/heads/main", sha=sha), payload=payload)


def workflow_dispatch(*, ref: str = "refs/heads/main", sha: str = HEAD_SHA, **inputs: str) -> Event:
    """Return a run started by hand."""
    payload = {"ref": ref, "inputs": inputs, "repository": _repository(REPOSITORY), "sender": {"login": "octocat"}}
    return Event(name="workflow_dispatch", github=_base("workflow_dispatch", ref=ref, sha=sha), payload=payload)
