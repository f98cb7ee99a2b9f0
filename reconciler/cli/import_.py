"""``reconciler import``: what is live, as files that declare exactly that."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from reconciler.cli import options as shared
from reconciler.cli.ids import ids_from, ids_of
from reconciler.cli.named import default_api, paths_of
from reconciler.cli.savefile import exists, replace_file, save_new
from reconciler.cli.service import open_service, run_async
from reconciler.cli.wiring import make_output, refuse
from reconciler.core.endpoint import NOTHING, expect_of
from reconciler.core.errors import JournalError
from reconciler.core.model import ApiVersion

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from reconciler.cli.adopting import Reading, Wanted
    from reconciler.cli.output import Output
    from reconciler.cli.service import Service
    from reconciler.config.emit import Comments
    from reconciler.config.into import Additions
    from reconciler.config.load import Configuration
    from reconciler.core.adoption import Adoption, Ground
    from reconciler.core.endpoint import Expect
    from reconciler.core.errors import ExitReason

HELP = """Write what is live as YAML that declares exactly that: a plan right after has nothing to do.

v1 has no list: give ids, as arguments or with --ids-from. v2 lists all of yours: --all, or --api v2 without ids. Equal
settings become groups. What can't be known is left out, with a comment that says so; what the files (-f) declare
already is left alone. Without --out or --into the YAML goes to stdout. No file is ever overwritten.

\b
  reconciler import ao04x0r6 b7k2m9q1
  reconciler import --ids-from ids.txt --names --out automation/imported.yaml
  reconciler import --all --out automation.yaml
  reconciler import --all --into automation.yaml   add what is new; comments stay
  reconciler import ao04x0r6 --all                 v1 by id, and v2 by its list

Exits 0 when everything was read; 1 when something was not, and that is named on stderr and in the YAML.
"""


@click.command("import", help=HELP)
@click.argument("portfolios", metavar="[ID]...", nargs=-1)
@ids_from
@click.option(
    "--api",
    "version",
    type=click.Choice([version.value for version in ApiVersion]),
    help="The API of the ids that are given; v2 without ids means --all.  [default: that of `defaults`, else v1]",
)
@click.option("--all", "whole", is_flag=True, help="Everything that v2 lists.")
@click.option("--names", is_flag=True, help="Read the names of v1 portfolios too: one more call each.")
@click.option("--out", "out", metavar="FILE", help="Save to a new file.")
@click.option("--into", "into", metavar="FILE", help="Add to this file; everything in it stays as it is.")
@shared.files
@shared.service
@shared.output("text", "json")
def import_(**options: Any) -> ExitReason:
    """Read, lay out, check, write."""
    output = make_output(options)
    wanted = _wanted(options)
    configuration, ground = _files(options)
    if options["version"] is None:
        wanted = replace(wanted, version=default_api(configuration))
    expected = configuration.expect if configuration is not None else NOTHING

    async def work() -> tuple[Reading, str, Expect]:
        from reconciler.cli.adopting import read_wanted

        async with open_service(options, paths_of(configuration), expect=expected) as service:
            # Files that say it, or leave it out on purpose, stay as they are.
            expect = expect_of(url=service.label, account=service.account) if expected.empty else NOTHING
            reading = await read_wanted(
                wanted,
                options,
                service,
                output,
                declared=configuration.desired if configuration is not None else (),
                strategies=configuration.strategies if configuration is not None else (),
            )
            output.notes(service.notes)
            await _keep(reading, options, service, output)
            return reading, service.label, expect

    reading, base_url, expect = run_async(work)
    return _write(reading, base_url, configuration, ground, options, output, expect=expect)


async def _keep(reading: Reading, options: Mapping[str, Any], service: Service, output: Output) -> None:
    """Let the journal keep what the reads prove of schedules, so that the first pause of ours does not lose it.

    Only said where it can't: the files are what an import is for.
    """
    from reconciler.cli.writing import open_to_write
    from reconciler.core.evidence import observed
    from reconciler.core.ports import Memory

    known = Memory(records=reading.found.records)
    proven = observed(known, reading.found.live, now_ms=service.api.service_ms())
    if not proven:
        return
    try:
        with await open_to_write({**options, "lock_timeout": "0s"}, service) as journal:
            journal.confirm(proven)
    except JournalError as error:
        output.note(f"note: what was seen of schedules could not be kept: {error}")


def _wanted(options: Mapping[str, Any]) -> Wanted:
    """Return what to import. Raises a usage error for a command line that names nothing, or says two things."""
    from reconciler.cli.adopting import Wanted

    version = ApiVersion(options["version"] or ApiVersion.V1)
    ids = ids_of(options, options["portfolios"])
    if options["out"] is not None and options["into"] is not None:
        raise refuse("--out makes a new file and --into adds to one: drop one of them.")
    if "-" in (options["out"], options["into"]):
        raise refuse("The YAML goes to stdout where neither --out nor --into is given: leave it out.")
    if options["out"] is not None and os.path.lexists(options["out"]):
        raise exists(options["out"])
    if options["into"] is not None and not os.path.isfile(options["into"]):  # noqa: PTH113 - a name that no system knows is no error here
        raise refuse(f"--into {options['into']}: there is no such file; make one with --out.")
    if not ids and options["version"] is None and not options["whole"]:
        raise refuse("Nothing is named, and v1 has no list. Give ids or --ids-from, or --all for what v2 lists.")
    if not ids and not version.can.lists and not options["whole"]:
        raise refuse("v1 has no list: give ids or --ids-from.")
    if not ids and options["whole"] and options["version"] is not None and not version.can.lists:
        raise refuse("--all is of v2, and v1 has no list: drop --api v1, or give ids.")
    return Wanted(ids=ids, version=version, whole=options["whole"] or not ids, names=options["names"])


def _files(options: Mapping[str, Any]) -> tuple[Configuration | None, Ground | None]:
    """Load the files that the new portfolios will stand beside, if there are any, and the one they are added to."""
    from reconciler.config.files import DEFAULTS
    from reconciler.config.into import load_ground

    # A folder that is only just made, for what comes out of this, holds no files yet.
    sources = list(options["sources"]) or [
        name for name in DEFAULTS if Path(name).is_file() or any(Path(name).rglob("*.y*ml"))
    ]
    if options["into"] is not None:
        sources.append(options["into"])
    if not sources:
        return None, None
    return load_ground(sources, stdin=sys.stdin.buffer.read, today=_today(), cwd=Path.cwd())


def _write(
    reading: Reading,
    base_url: str,
    configuration: Configuration | None,
    ground: Ground | None,
    options: Mapping[str, Any],
    output: Output,
    *,
    expect: Expect,
) -> ExitReason:
    """Make the files of what was read, and tell about it; ``expect`` is what they are to say of the service."""
    from reconciler.cli.adopting import exit_reason
    from reconciler.core.adoption import make_adoption
    from reconciler.render.adoption import adoption_document, list_problem_of

    adoption = make_adoption(reading.found, ground=ground, reuse=options["into"] is not None)
    listed = reading.listed
    problem = list_problem_of(str(listed.failure) if listed.failure is not None else None, listed.unreadable)
    reason = exit_reason(reading, adoption)
    text = None
    if not adoption.empty:
        text = _save(adoption, base_url, problem, configuration, options, expect=expect)
    if output.is_json:
        from reconciler.render.json import document_json

        body = adoption_document(adoption, base_url=base_url, declared=reading.declared, list_problem=problem)
        file = options["out"] or options["into"]
        output.data(document_json(reason, {**body, "file": file, "yaml": text if file is None else None}))
    elif text is not None and options["out"] is None and options["into"] is None:
        output.data(text)
    _say(reading, adoption, problem, options, output)
    return reason


def _save(
    adoption: Adoption,
    base_url: str,
    problem: str | None,
    configuration: Configuration | None,
    options: Mapping[str, Any],
    *,
    expect: Expect,
) -> str:
    """Write the YAML where it is to go, after it was read again; return it. Raises ``ReconcilerError``."""
    from reconciler.config.emit import Comments, emit
    from reconciler.config.into import Additions, require_exactly
    from reconciler.core.fields import SCHEMA_ID
    from reconciler.core.text import plural
    from reconciler.render.adoption import head_lines, tail_lines

    comments = Comments(
        head=head_lines(base_url),
        portfolios={i: "; ".join(notes) for i, notes in adoption.notes.items()},
        strategies={s: f"{plural(adoption.enrolled[s], 'portfolio')} imported with it" for s in adoption.strategies},
        tail=tail_lines(adoption, problem),
    )
    added = Additions(portfolios=adoption.layout.desired, strategies=adoption.strategies, expect=expect)
    if options["into"] is not None and configuration is not None:
        return _add(adoption, comments, added, configuration, options["into"])
    text = emit(adoption.layout, adoption.strategies, comments, expect=expect, schema=SCHEMA_ID)
    beside = configuration.texts if configuration is not None else {}
    require_exactly({**beside, "<imported>": text.encode()}, configuration, added, today=_today())
    if options["out"] is not None:
        save_new(options["out"], text, what="import")
    return text


def _add(adoption: Adoption, comments: Comments, added: Additions, configuration: Configuration, into: str) -> str:
    """Add to a file; return its new text. Raises ``ReconcilerError``."""
    from reconciler.config.into import add_to, name_of, require_exactly
    from reconciler.core.errors import ReconcilerError

    name = name_of(configuration, Path(into), Path.cwd())
    if name is None:  # it was loaded a moment ago
        raise ReconcilerError(f"{into} was moved in the meantime", "Run it again.")
    before = configuration.texts[name]
    after = add_to(before, adoption.layout, added, comments)
    require_exactly({**configuration.texts, name: after}, configuration, added, today=_today())
    replace_file(into, before, after, what="import")
    return after.decode("utf-8")


def _today() -> date:
    return datetime.now(tz=UTC).date()


def _say(reading: Reading, adoption: Adoption, problem: str | None, options: Mapping[str, Any], output: Output) -> None:
    """Tell on stderr what came of it: failures always, the rest unless quiet."""
    from reconciler.render.adoption import omitted_line, summary_line

    for one in adoption.omitted:
        say = output.warn if one.reason.is_failure else output.note
        say(f"left out: {omitted_line(one)}")
    for strategy, why in adoption.left.items():
        output.note(f"not declared: strategy {strategy}: {why}")
    nameless = sum(not isinstance(name, str | None) for name in reading.found.names.values())
    if nameless:
        output.warn(f"the names of {nameless} could not be read")
    if problem is not None:
        output.warn(problem)
    file = options["out"] or options["into"]
    where = f" Saved to {file}; look at it with: reconciler plan -f {file}" if file and not adoption.empty else ""
    output.note(f"{summary_line(adoption, len(reading.declared))}{where}")
