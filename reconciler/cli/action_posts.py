"""What a step of GitHub Actions posts, on which pull request, and for which use of the action.

In: what GitHub tells every step (variables, the event's file), the inputs as they were given, and how the command
ended. Out: a comment, an issue, and a sentence for each post that could not be made. Also :func:`run_of`: which commit,
run and part of the repository a page is about.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.action_inputs import SPLIT_BY, Command, Comment
from reconciler.cli.service import SystemClock
from reconciler.config.files import read_file
from reconciler.config.git import Git
from reconciler.core.errors import ExitReason, ReconcilerError
from reconciler.core.needs import left_alone
from reconciler.core.text import harmless, plural
from reconciler.github.address import Mark
from reconciler.render import github
from reconciler.render.github import ActionRun

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.action_inputs import Inputs
    from reconciler.github.client import GitHub, Posted
    from reconciler.render.ending import Ending

COMMENTED: Final = (Command.PLAN, Command.APPLY)
"""What comments: the other commands would overwrite a plan's comment with less."""
DRIFT_LABEL: Final = "drift"
LARGEST_EVENT: Final = 32 * 1024 * 1024
"""Bytes of an event's file that are read; GitHub sends none larger than 25 MB."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_QUEUED: Final = re.compile(r"refs/heads/gh-readonly-queue/.+/pr-(\d{1,10})-[0-9a-f]+")


def post(ending: Ending, inputs: Inputs | None, environ: Mapping[str, str], run: ActionRun) -> tuple[str, ...]:
    """Post what the inputs ask for; return a sentence for each post that could not be made.

    ``inputs`` is ``None`` where they could not be read: then a comment that is there already is brought up to date.
    """
    event = event_of(environ)
    number = pull_request_of(event, _text(environ, "pull-request"))
    comments = _comments(inputs, environ)
    issue = inputs is not None and inputs.issue
    unknown = (_unknown(event),) if comments and number is None and _unknown(event) else ()
    comments = comments and number is not None
    if not comments and not issue:
        return unknown
    token, repository = environ.get("GITHUB_TOKEN", ""), environ.get("GITHUB_REPOSITORY", "")
    if not token or not repository:
        return ("nothing was posted: the input `github-token` is empty",)
    from reconciler.github.address import proxy_to
    from reconciler.github.client import GitHub, GitHubError

    mark = mark_of_use(ending, environ, run)
    body = github.comment_body(ending, run=run)
    posted = []
    try:
        api_url = environ.get("GITHUB_API_URL") or "https://api.github.com"
        proxy = proxy_to(api_url, environ)
        with GitHub(api_url=api_url, token=token, repository=repository, proxy=proxy) as client:
            if comments and number is not None:
                create = inputs is not None and (inputs.comment is Comment.TRUE or has_something_to_say(ending))
                posted.append(("comment", client.upsert_comment(number, mark=mark, body=body, create=create)))
            if issue:
                posted.append(("issue", _keep_issue(client, ending, mark=mark, body=body, looks_at=run.looks_at)))
    except GitHubError as error:
        return (*unknown, f"{error.summary}. {error.detail}".rstrip())
    return (*unknown, *(sentence for what, one in posted if one is not None and (sentence := _told(what, one))))


def _comments(inputs: Inputs | None, environ: Mapping[str, str]) -> bool:
    if inputs is not None:
        return inputs.comment is not Comment.FALSE and inputs.command in COMMENTED
    # A command that is misspelled may have been meant to comment; one that never does was not.
    never = {command.value for command in Command if command not in COMMENTED}
    return _text(environ, "comment") != Comment.FALSE and _text(environ, "command") not in never


def _told(what: str, posted: Posted) -> str:
    from reconciler.github.client import PostAction

    if posted.action is not PostAction.LEFT:
        return posted.doubt
    where = f" ({posted.url})" if posted.url else ""
    return f"the {what} was left as it is: a later run wrote it, about another commit{where}"


def _keep_issue(client: GitHub, ending: Ending, *, mark: Mark, body: str, looks_at: str) -> Posted | None:
    """Open or update the issue while there is drift, close it when there is none; errors leave it as it is."""
    match ending.reason:
        case ExitReason.CHANGES:
            title = f"Drift of portfolio automation{f' ({looks_at})' if looks_at else ''}"
            return client.upsert_issue(mark=mark, title=title, body=body, label=DRIFT_LABEL)
        case ExitReason.OK:
            return client.close_issue(mark=mark, body="Live automation is as declared again.", label=DRIFT_LABEL)
        case _:
            return None


def has_something_to_say(ending: Ending) -> bool:
    """Whether a reviewer should know of it: a change, a hold, a block or an error."""
    plan = ending.found.plan
    if ending.reason not in (ExitReason.OK, ExitReason.CHANGES) or plan is None:
        return True
    return bool(plan.changes) or any(left_alone(plan))


def mark_of_use(ending: Ending, environ: Mapping[str, str], run: ActionRun) -> Mark:
    """Return the mark of this use of the action: of what it looks at, not of what the files there say.

    Plan and apply of the same portfolios share a comment. An issue is of its job besides, since a job that finds no
    drift closes it.
    """
    found = ending.found
    command = found.command if found.command in set(Command) else ""
    workflow, environment = environ.get("GITHUB_WORKFLOW", ""), _text(environ, "environment")
    job = (workflow, environ.get("GITHUB_JOB", ""), environ.get("JOB_MATRIX", ""))
    looks = _looks(environ)
    family = job if command == Command.DRIFT else (workflow, environ.get("JOB_MATRIX", ""))
    plain = not any(looks[name] for name in ("folder", "config", "target", "select"))
    pair = f"{len(workflow)}:{workflow}{environment}"
    return Mark(
        use=_digest([*family, environment, *looks.values()])[:32],
        by=_digest(job)[:16],
        run=_number(environ.get("GITHUB_RUN_ID", "")),
        attempt=_number(environ.get("GITHUB_RUN_ATTEMPT", "")),
        did=command,
        commit=run.commit,
        plan=(found.fingerprint or "")[:16],
        earlier=sha256(pair.encode(errors="surrogatepass")).hexdigest() if plain else "",
        alone=found.plan is None and found.report is None,
    )


def _looks(environ: Mapping[str, str]) -> dict[str, list[str]]:
    """Return what a use looks at besides its environment, as the inputs say it, whether or not they can be used."""
    folder = prefix(environ.get("GITHUB_WORKSPACE", ""), Path.cwd()).rstrip("/")
    return {
        "folder": [folder] if folder else [],
        "config": sorted({line.strip() for line in _text(environ, "config").splitlines()} - {""}),
        "target": sorted(_text(environ, "target").translate(SPLIT_BY).split()),
        "select": sorted(_text(environ, "select").translate(SPLIT_BY).split()),
        "service": [url] if (url := environ.get("GLIDER_BASE_URL", "").strip().rstrip("/")) else [],
    }


def _digest(parts: object) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()


def run_of(environ: Mapping[str, str]) -> ActionRun:
    """Return what a page says of its run: when, of which commit, and which part of the repository it is about."""
    commit, merged = commit_of(environ, event_of(environ))
    server, repository = environ.get("GITHUB_SERVER_URL", ""), environ.get("GITHUB_REPOSITORY", "")
    home = f"{server.rstrip('/')}/{repository}" if server and repository else ""
    number, attempt = environ.get("GITHUB_RUN_NUMBER", ""), _number(environ.get("GITHUB_RUN_ATTEMPT", ""))
    again = f"/attempts/{attempt}" if attempt > 1 else ""
    looks = _looks(environ)
    chosen = [*looks["target"], *looks["select"]]
    told = [_text(environ, "environment"), *looks["folder"], *_few(looks["config"], "source")]
    told += [f"only {' '.join(_few(chosen, 'choice'))}"] if chosen else []
    return ActionRun(
        at_ms=SystemClock().now_ms(),
        looks_at=harmless(", ".join(filter(None, told)), longest=100),
        commit=commit,
        merged=merged,
        home=home,
        number=f"{number}{f', attempt {attempt}' if again else ''}" if number else "",
        url=f"{home}/actions/runs/{environ['GITHUB_RUN_ID']}{again}" if home and environ.get("GITHUB_RUN_ID") else "",
    )


def _few(words: list[str], noun: str) -> list[str]:
    return words if len(words) <= 2 else [plural(len(words), noun)]


def commit_of(environ: Mapping[str, str], event: Mapping[str, Any]) -> tuple[str, str]:
    """Return the commit that is checked out here, and the head of the pull request where that commit merges it.

    Where git can't tell, the event says what would be checked out. Either is empty where it is not known.
    """
    head = _sha(_at(event, "pull_request", "head", "sha"))
    try:
        answer = Git(Path.cwd(), environ).run("rev-parse", "--verify", "--quiet", "HEAD")
        found = _sha(answer.output.decode(errors="replace").strip()) if answer.code == 0 else ""
    except ReconcilerError:
        found = ""
    if found:
        return found, head if found == environ.get("GITHUB_SHA") and found != head else ""
    told = (head, *(_sha(_at(event, kind, "head_sha")) for kind in ("workflow_run", "merge_group")))
    return next((sha for sha in (*told, _sha(environ.get("GITHUB_SHA"))) if sha), ""), ""


def pull_request_of(event: Mapping[str, Any], given: str = "") -> int | None:
    """Return the number of the pull request that a run is about, ``None`` where it is about none that is known.

    ``given`` is the input, which comes first; a run started by hand may have been given one of the same name.
    """
    queued = _QUEUED.fullmatch(str(_at(event, "merge_group", "head_ref")))
    commented = _at(event, "issue", "number") if _at(event, "issue", "pull_request") is not None else None
    found = (
        _number(given),
        _number(str(_at(event, "inputs", "pull-request"))),
        _at(event, "pull_request", "number"),
        commented,
        _number(queued[1]) if queued else None,
        _only(_at(event, "workflow_run", "pull_requests"), _at(event, "repository", "id")),
    )
    return next((number for number in found if type(number) is int and number > 0), None)


def _only(pulls: object, repository: object) -> object:
    """Return the number of the one pull request of this repository; another's numbers are none of ours."""
    every = pulls if isinstance(pulls, list) else []
    ours = [_at(pull, "number") for pull in every if _at(pull, "base", "repo", "id") in (None, repository)]
    return ours[0] if len(ours) == 1 else None


def _unknown(event: Mapping[str, Any]) -> str:
    """Return what to say of an event that is about a pull request, but does not tell which; ``""`` for any other."""
    about = str(_at(event, "workflow_run", "event")).startswith("pull_request") or "merge_group" in event
    return "no comment: the event does not tell which pull request it is about; set `pull-request`" if about else ""


def event_of(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the event of this run, empty where it can't be read: its sender may nest it as deep as they like."""
    try:
        event = json.loads(read_file(Path(environ["GITHUB_EVENT_PATH"]), most=LARGEST_EVENT))
    except (KeyError, OSError, ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def prefix(workspace: str, here: Path) -> str:
    """Return what the working directory puts before a file's name; annotations are relative to the workspace."""
    root = Path(workspace).resolve() if workspace else here.resolve()
    directory = here.resolve()
    if directory == root or not directory.is_relative_to(root):
        return ""
    return directory.relative_to(root).as_posix() + "/"


def _text(environ: Mapping[str, str], name: str) -> str:
    return environ.get("INPUT_" + name.upper().replace("-", "_"), "").strip()


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0


def _sha(text: object) -> str:
    return text if isinstance(text, str) and _COMMIT.fullmatch(text) else ""


def _at(event: Any, *keys: str) -> Any:
    for key in keys:
        event = event.get(key) if isinstance(event, dict) else None
    return event
