"""What GitHub reads: comment, step summary, annotations, outputs, and a log in which nothing passes for a command.

In: an :class:`~reconciler.render.ending.Ending`, and text from outside. Out: text that ends in a line break and keeps
within the limits of GitHub. The runner obeys ``::command::`` at the start of a line and ``##[command]`` anywhere in
one, on both streams. Knows neither GitHub's API nor where the runner's files are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from reconciler.core.diagnostics import Severity
from reconciler.core.errors import ExitReason, GuardRefused
from reconciler.core.evidence import without_mark
from reconciler.core.text import harmless, plural
from reconciler.render.annotations import Annotation, Level, remarks
from reconciler.render.compare import comparison_page, drift_page
from reconciler.render.markdown import markdown
from reconciler.render.page import At, Heading, Lines, Notes, Notice, Page, Problems, Span, Tone, code, reworded
from reconciler.render.plan import plan_page, report_page
from reconciler.render.status import status_page
from reconciler.render.terminal import PLAIN, safe, terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from reconciler.core.diagnostics import Diagnostic
    from reconciler.core.errors import ReconcilerError
    from reconciler.render.ending import Ending, Found
    from reconciler.render.page import Block, Cell, Piece

COMMENT_LIMIT: Final = 60_000
"""Bytes of a comment. GitHub takes 65,536 characters."""
SUMMARY_LIMIT: Final = 1024 * 1024 - 8 * 1024
"""Bytes of one step's summary. GitHub drops one that is over 1 MiB, whole."""
MOST_ANNOTATIONS: Final = 10
"""Of each level, GitHub shows so many of one step and drops the rest without a word."""
LONGEST_MESSAGE: Final = 1000

_TOKEN: Final = re.compile(r"[0-9A-Za-z]{16,}", re.ASCII)
_NUMBERS: Final = re.compile(r"#(?=#)")
_NOT_PLANNED: Final = (
    "This commit could not be planned, so what it would change is not known. A plan of an earlier one is out of date."
)
_OUTPUT: Final = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_COMMANDS: Final = frozenset({"validate", "plan", "apply", "drift", "status", "halt", "lift"})
_WORDS: Final[Mapping[ExitReason, str]] = {
    ExitReason.OK: "done",
    ExitReason.ERROR: "failed",
    ExitReason.CHANGES: "changes are pending",
    ExitReason.INVALID: "the files or the plan are invalid",
    ExitReason.STALE: "refused, not what was planned or approved",
    ExitReason.GUARD: "refused, over a guard",
    ExitReason.PARTIAL: "partly done",
    ExitReason.PERMISSION: "the key is missing, refused or not enough",
    ExitReason.UNREACHABLE: "the service did not answer",
    ExitReason.USAGE: "wrong usage",
    ExitReason.INTERRUPTED: "stopped by a signal",
    ExitReason.TERMINATED: "stopped by a signal",
}
"""Every reason in words; a test holds it to be complete."""


_INPUTS: Final[Mapping[str, str]] = {
    "-f": "config",
    "--file": "config",
    "--out": "plan-file",
    "--all": "all",
    "--known": "known",
    "--reason": "reason",
    "--halt": "halt",
    "--approved": "approved-plan",
    "--fingerprint": "fingerprint",
    "--auto-approve": "auto-approve",
    "--allow": "allow",
    "--resume-held": "resume-held",
    "--again": "again",
    "--base": "base",
    "--live": "live",
    "--shard": "shard",
    "--max-age": "max-age",
    "--target": "target",
    "--select": "select",
    "--unverified": "unverified",
    "--parallelism": "parallelism",
    "--max-rate": "max-rate",
    "--journal": "journal",
    "--join": "join",
    "--base-url": "base-url",
    "--fail-on": "fail-on",
}
"""Which input of the action stands for an option of the command line; ``--halt`` for the id behind `halt lift`."""
_INSTEAD: Final[Mapping[str, str]] = {
    " see the difference with `reconciler show FILE --against APPROVED`,": "",
    "GLIDER_BASE_URL or --base-url": "`base-url`",
    "Drop --proxy, or GLIDER_PROXY.": "Unset GLIDER_PROXY in the `env` of the workflow.",
    "or give --lock-timeout more time": "and let runs that share a journal wait for each other (`concurrency`)",
    " of the same command under -v": " of this step",
    "; -v lists them": "; the summary of the step lists them",
    "run it with: reconciler apply ": "run it with the command `apply`, as the input `plan-file`: ",
}
"""What to say in the action instead of words about an option that it lacks."""
_NAMED: Final = re.compile(
    r"`(?P<typed>[^`\n]*)`"
    r"|(?<![\w-])(?P<id>--again|--resume-held) (?P<whose>@[^\s:,]*|[\w-]+(?:=[\w-]+)?)"
    r"|(?<![\w-])(?P<option>-f|--[a-z][a-z-]*)(?![\w-])(?: (?P<value>[a-z]+=[\w-]+(?:\.[\w-]+)*|[A-Z]{2,}\b))?"
)
"""What is to be typed, whole, or an option in a sentence with what is typed behind it."""
_CALL: Final = re.compile(
    r"(?:reconciler )?(?:halt )?(validate|plan|apply|drift|status(?! --out)|lift|halt(?! list))(?: (.*))?"
)
_BY_PEOPLE: Final = ("name", "owner", "note", "reason", "pause_reason")
"""What changes and portfolios hold in the words of people."""
_TWICE: Final = re.compile(r"`([a-z-]+): ([^`]*)` `\1: ")


def as_inputs(text: str) -> str:
    """Return sentences for people with the names of inputs in place of those of the command line's options.

    ``--allow resume=12`` becomes ```allow: resume=12```. What is no option of the command line stays as it is.
    """
    if "-" not in text and "reconciler" not in text:
        return text
    for words, instead in _INSTEAD.items():
        text = text.replace(words, instead)
    text = _NAMED.sub(_named, text)
    while (folded := _TWICE.sub(r"`\1: \2 ", text)) != text:
        text = folded
    return text


def _words_about(found: Found) -> Callable[[str], str]:
    """Return :func:`as_inputs` for pages that repeat words of people: a name, an owner or a reason that looks like an
    option of ours stays as it was written."""
    plan = found.plan if found.report is None else found.report.plan
    rows = (*plan.changes, *plan.held, *plan.blocked, *plan.moved, *plan.overdue, *plan.unmanaged) if plan else ()
    seen = [one for status in found.statuses or () for one in (status.desired, status.live)]
    said = {getattr(one, name, None) or "" for one in (*rows, *seen) for name in _BY_PEOPLE}
    shown = {part for text in said for part in (text, without_mark(text))}
    kept = sorted((text for text in shown if as_inputs(text) != text), reverse=True)
    if not kept:
        return as_inputs
    split = re.compile(f"({'|'.join(map(re.escape, kept))})")
    return lambda text: "".join(part if odd % 2 else as_inputs(part) for odd, part in enumerate(split.split(text)))


def _named(found: re.Match[str]) -> str:
    typed = found["typed"]
    if typed is None:
        return _input(found["id"] or found["option"], found["whose"] or found["value"] or "") or found[0]
    if call := _CALL.fullmatch(typed):
        return _step(call[1], (call[2] or "").split()) or found[0]
    option, _, value = typed.partition(" ")
    return _input(option, value) or found[0]


def _input(option: str, value: str) -> str:
    """Return an option as an input, ``""`` where there is none of it."""
    name = _INPUTS.get(option)
    return "" if name is None else f"`{name}: {value}`" if value else f"`{name}`"


def _step(command: str, words: list[str]) -> str:
    """Return a command with its options as a step's inputs, ``""`` where no step can run it."""
    if "--help" in words:
        return "`docs/ci.md`"
    inputs: list[str] = []
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            inputs.append(_input("--halt" if command == "lift" else "--target", word))
            continue
        inputs.append(_input(word, words.pop(0) if words and not words[0].startswith("-") else ""))
    told = f" ({', '.join(inputs)})" if inputs else ""
    return f"`{command}`{told}" if all(inputs) else ""


class ActionRun(Struct, frozen=True, kw_only=True):
    """What a page says of the run that made it. ``at_ms`` is the time, in UTC epoch milliseconds.

    ``looks_at`` are words for the part of the repository that this use of the action is about, empty for the whole.
    ``commit`` is what was checked out, and ``merged`` the head of the pull request where that is a merge of it.
    ``home`` is the address of the repository, ``url`` that of the run, whose ``number`` people see. What is empty is
    not known.
    """

    at_ms: int
    looks_at: str = ""
    commit: str = ""
    merged: str = ""
    home: str = ""
    number: str = ""
    url: str = ""


def comment_body(ending: Ending, *, run: ActionRun, limit_bytes: int = COMMENT_LIMIT) -> str:
    """Return the comment: verdict, what it is about (time, commit, run, fingerprint), and the whole of it."""
    return markdown(_page(ending, run), limit_bytes=limit_bytes)


def summary(ending: Ending, *, run: ActionRun | None = None, limit_bytes: int = SUMMARY_LIMIT) -> str:
    """Return the summary of a step: what the comment shows, with more room."""
    return markdown(_page(ending, run), limit_bytes=limit_bytes)


def _page(ending: Ending, run: ActionRun | None) -> Page:
    """Return verdict, what it is about, the error, problems, results or plan, and remarks."""
    found = ending.found
    files = diagnostics_page(found.problems, portfolios=found.portfolios)
    main = _of_command(found) or files
    command = found.command.capitalize() if found.command in _COMMANDS else "Action"
    pins: list[Cell] = [*_pins(run)] if run is not None else []
    pins += [("fingerprint ", code(found.fingerprint))] if found.fingerprint else []
    blocks: list[Block] = [error_block(found.error)] if found.error is not None else []
    if run is not None and found.command == "plan" and found.plan is None:
        blocks.append(Lines((_NOT_PLANNED,)))
    if found.uncovered is not None:
        difference = comparison_page(found.uncovered).blocks
        blocks += [Heading("What would run, compared with what was approved"), *difference, Heading("All of it")]
    blocks += [*files.blocks, *(main.blocks if main is not files else ()), Notes(found.notes)]
    page = Page(
        title=f"{command} ({run.looks_at})" if run is not None and run.looks_at else command,
        tone=main.tone if ending.reason in (ExitReason.OK, ExitReason.CHANGES) else Tone.BAD,
        verdict=_verdict(ending, main),
        notice=main.notice,
        about=main.about,
        pins=lambda: pins,
        blocks=tuple(blocks),
    )
    return reworded(page, _words_about(found))


def diagnostics_page(diagnostics: Sequence[Diagnostic], *, portfolios: int | None = None) -> Page:
    """Return how many problems there are, and each of them with its place, repair and source line, errors first.

    ``portfolios`` is how many the files declare, if that is known.
    """
    errors = tuple(one for one in diagnostics if one.severity is Severity.ERROR)
    warnings = tuple(one for one in diagnostics if one.severity is not Severity.ERROR)
    counts = [plural(len(errors), "error")] if errors else []
    counts += [plural(len(warnings), "warning")] if warnings else []
    words = f"{' and '.join(counts)} in the files" if counts else "the files are valid"
    declared = f", {plural(portfolios, 'portfolio')} declared" if portfolios is not None else ""
    blocks = [Problems(title, found) for title, found in (("Errors", errors), ("Warnings", warnings)) if found]
    tone = Tone.BAD if errors else Tone.NOTICE if counts else Tone.GOOD
    return Page(title="Validate", tone=tone, verdict=f"{words}{declared}", blocks=tuple(blocks))


def error_block(error: ReconcilerError) -> Notice:
    """Return an error as a notice: what happened, then the repair."""
    told: list[Cell] = [(Span("Error:", Tone.STRONG), f" {error}")]
    told += [(Span("What to do:", Tone.STRONG), f" {error.detail}")] if error.detail else []
    return Notice(Tone.BAD, tuple(told))


def _pins(run: ActionRun) -> Iterator[Cell]:
    """Yield when, of which commit and by which run; a commit and a run lead to their own page."""
    yield At(run.at_ms)
    if run.commit:
        merge: tuple[Piece, ...] = (", which merges ", _commit(run, run.merged)) if run.merged else ()
        yield "commit ", _commit(run, run.commit), *merge
    if run.number:
        yield "run ", Span(run.number, url=run.url)


def _commit(run: ActionRun, sha: str) -> Span:
    return Span(sha[:12], code=True, url=f"{run.home}/commit/{sha}" if run.home else "")


def _title(found: Found) -> str:
    """Return what people call the report: a halt and a lift are no apply to them."""
    return found.command.capitalize() if found.command in ("halt", "lift") else "Apply"


def _of_command(found: Found) -> Page | None:
    """Return the page of the last step that a command reached, ``None`` where it only read files."""
    if found.report is not None:
        return report_page(found.report, title=_title(found))
    if found.plan is not None:
        # The error of a guard that refused names the numbers already.
        told = isinstance(found.error, GuardRefused)
        plan = replace(found.plan, over=()) if told else found.plan
        return drift_page(plan) if found.command == "drift" else plan_page(plan)
    return status_page(found.statuses) if found.statuses is not None else None


def _verdict(ending: Ending, main: Page) -> str:
    """Return words for what the command came to; of two things the one that is more to the point."""
    if ending.found.report is not None:
        stopped = ending.reason in (ExitReason.INTERRUPTED, ExitReason.TERMINATED)
        return f"{main.verdict}, {_WORDS[ending.reason]}" if stopped else main.verdict
    return _WORDS[ending.reason] if ending.found.error is not None else main.verdict


def log_text(ending: Ending) -> str:
    """Return for the log what a terminal would have shown; errors are on the other stream already."""
    found = ending.found
    pages = [diagnostics_page(found.problems)] if found.error is None and found.problems else []
    pages += [shown] if (shown := _of_command(replace(found, report=None))) is not None else []
    pages += [comparison_page(found.uncovered)] if found.uncovered is not None else []
    parts = [terminal(page, PLAIN) for page in pages]
    parts += (
        [terminal(report_page(found.report, title=_title(found)), PLAIN, below=True)]
        if found.report is not None
        else []
    )
    if found.portfolios is not None:
        parts.append(f"{plural(found.portfolios, 'portfolio')} declared.\n")
    parts += [f"note: {safe(note)}\n" for note in found.notes]
    return _words_about(found)("\n".join(parts))


def shown_annotations(ending: Ending, *, passes: bool = False, most: int = MOST_ANNOTATIONS) -> tuple[Annotation, ...]:
    """Return what is worth a remark, errors first; at most ``most`` (2 or more) of a level, the last for all others.

    ``passes`` says that the step does.
    """
    words = _words_about(ending.found)
    told = remarks(ending, passes=passes)
    every = tuple(replace(one, title=words(one.title), message=words(one.message)) for one in told)
    shown: list[Annotation] = []
    for level in Level:
        found = [annotation for annotation in every if annotation.level is level]
        if len(found) <= most:
            shown += found
            continue
        shown += found[: most - 1]
        more = f"{len(found) - most + 1} more like these are not shown here; the summary of the step has them"
        shown.append(Annotation(level=level, title="And more", message=more))
    return tuple(shown)


def warning(text: str) -> Annotation:
    """Return a warning about the step itself."""
    return Annotation(level=Level.WARNING, title="glider-reconciler", message=text)


def failure(text: str) -> Annotation:
    """Return an error of the step itself."""
    return Annotation(level=Level.ERROR, title="glider-reconciler", message=text)


def annotation_lines(found: Iterable[Annotation], *, prefix: str = "") -> str:
    """Return the commands that make annotations, one a line; ``prefix`` is put before the name of every file."""
    return "".join(_annotation_line(annotation, prefix) for annotation in found)


def _annotation_line(annotation: Annotation, prefix: str) -> str:
    properties: dict[str, object] = {}
    if annotation.file is not None:
        properties = {"file": prefix + annotation.file, "line": annotation.line, "col": annotation.column}
    if annotation.file is not None and annotation.end_column is not None:
        properties |= {"endLine": annotation.line, "endColumn": annotation.end_column}
    properties["title"] = annotation.title
    given = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items() if value is not None)
    return f"::{annotation.level.value} {given}::{_data(annotation.message)}\n"


def mask(value: str) -> str:
    """Return the commands that make the runner hide a value in the log, one a line of it; nothing for an empty one."""
    lines = dict.fromkeys(line for line in re.split(r"[\r\n]+", value) if line.strip())
    return "".join(f"::add-mask::{line.replace('%', '%25')}\n" for line in lines)


def stop_commands(token: str) -> str:
    """Return the command that makes the runner obey nothing before :func:`resume_commands` with the same token.

    It must be new and random, 16 letters and digits at least; else raises ``ValueError``.
    """
    if not _TOKEN.fullmatch(token):
        raise ValueError("the token that stops commands must be 16 random letters and digits at least")
    return f"::stop-commands::{token}\n"


def resume_commands(token: str) -> str:
    """Return the command that ends what :func:`stop_commands` began; on a line of its own, whatever came before."""
    return f"\n::{token}::\n"


def harmless_log(text: str) -> str:
    """Return text from outside for the log, the older form of a command taken apart.

    The page of the log obeys some of those even where the runner does not. Either half is enough, so that a text
    that comes in two pieces is taken apart, too.
    """
    return _NUMBERS.sub("# ", text).replace("#[", "# [")


def outputs(values: Mapping[str, str], *, delimiter: str) -> str:
    """Return a step's outputs as lines for the file that ``GITHUB_OUTPUT`` names.

    ``delimiter`` must be new and random, 16 letters and digits at least, and in no value; else raises ``ValueError``,
    as for a name that is no output's.
    """
    if not _TOKEN.fullmatch(delimiter) or any(delimiter in value for value in values.values()):
        raise ValueError("the delimiter of outputs must be 16 random letters and digits at least")
    if wrong := next((name for name in values if not _OUTPUT.fullmatch(name)), None):
        raise ValueError(f"{wrong!r} is not the name of an output")
    return "".join(f"{name}<<{delimiter}\n{value}\n{delimiter}\n" for name, value in values.items())


def output_values(ending: Ending, *, paths: Mapping[str, str], held_counts: bool = True) -> dict[str, str]:
    """Return the outputs of a step by name; ``""`` where the command did not come to it, which is not "no changes".

    ``paths`` may name ``plan-path`` and ``json-path``, the files that were saved. ``held_counts`` says whether what is
    held is drift.
    """
    found = ending.found
    plan = found.plan if found.plan is not None else found.report.plan if found.report is not None else None
    counts = dict.fromkeys(("start", "resume", "pause", "update", "held", "blocked"), "")
    changes = ""
    if plan is not None:
        counts = {name: str(getattr(plan.summary, name)) for name in counts}
        # What is held has moved, too: it is declared active and is not; and what is overdue does not run.
        moved = plan.moved or plan.overdue or (held_counts and plan.held) if found.command == "drift" else ()
        unknown = plan.blocked  # what could not be read or decided may well have changed
        changes = "true" if plan.changes or moved else "" if unknown else "false"
    return {
        "has-changes": changes,
        **counts,
        "fingerprint": found.fingerprint or "",
        "plan-path": paths.get("plan-path", ""),
        "json-path": paths.get("json-path", ""),
        "halt-path": paths.get("halt-path", ""),
        "exit-code": str(ending.reason.code),
        "exit-reason": ending.reason.word,
    }


def _data(text: str) -> str:
    plain = harmless_log(harmless(text, longest=LONGEST_MESSAGE))
    return plain.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
