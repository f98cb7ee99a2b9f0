"""The commands that ask no service, as they are declared: those about files, the journal and the sandbox.

Out: :data:`LOCAL_MAKERS`, functions that make click's commands; :mod:`reconciler.cli.commands` has the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from reconciler.cli import flags
from reconciler.cli.declaring import command, group

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _init() -> click.Command:
    text = """Write a first file, with comments on what you can write in it. No file is ever overwritten.

The portfolio in it is an example: replace its id with the id of one of yours.

\b
  reconciler init
  reconciler init fleet/growth.yaml
"""
    return command(
        "init",
        "files:init",
        text,
        flags.argument("file", "[FILE]", required=False),
        *flags.output("text", "json"),
    )


def _validate() -> click.Command:
    text = """Check the files, offline: no key, no network.

Reports every problem of every file at once, each with its place and how to repair it. Exits 3 when there is one.

\b
  reconciler validate
  reconciler validate -f fleet/ -f extra.yaml
  git show main:automation.yaml | reconciler validate -f -
"""
    return command("validate", "files:validate", text, flags.files(), *flags.output("text", "json"))


def _show() -> click.Command:
    text = """Show a saved plan, after checking that nobody edited it.

With --against, shows for each portfolio what was added, dropped or changed since the plan OTHER. It compares what the
two plans would do and what they start from, not when they were made.

\b
  reconciler show plan.json
  reconciler show plan.json -o markdown
  reconciler show plan.json --against approved.json
"""
    return command(
        "show",
        "plan:show",
        text,
        flags.argument("file", "FILE"),
        flags.option("--against OTHER", "Show the difference from this earlier plan."),
        *flags.output("text", "json", "markdown"),
    )


def _explain() -> click.Command:
    text = """Show each value that takes effect for portfolio ID, and the layer and line it comes from.

A portfolio's own value wins over its group's, and the group's over the defaults. The strategy of a v2 portfolio is
shown with the cadence that the files declare for it. For a strategy, write strategies/ID. Offline: no key, no network.

\b
  reconciler explain ao04x0r6
  reconciler explain ao04x0r6 -f fleet/ -o json
"""
    return command(
        "explain",
        "files:explain",
        text,
        flags.argument("portfolio", "ID"),
        flags.files(),
        *flags.output("text", "json"),
    )


def _history() -> click.Command:
    text = """Show earlier applies and rebalances from the journal, newest first.

Offline and read-only; it works while an apply runs, too. With --run, it shows the writes of one run in their order.
Each is confirmed (by the answer), seen (by a read), unseen (a read proved that it had no effect), failed, unknown or
open. Times are UTC.

\b
  reconciler history
  reconciler history --run 12
  reconciler history --target ao04x0r6 -o json
"""
    return command(
        "history",
        "journal:history",
        text,
        flags.count("--run N", "The writes of this run.", least=1, most=2**63 - 1),
        flags.option("--target ID", "Only writes to this portfolio. Repeatable.", name="targets", many=True),
        flags.journal("The journal to read."),
        *flags.output("text", "json"),
    )


def _journal_export() -> click.Command:
    text = """Write what the journal knows of one service to FILE as JSON, or to standard output.

\b
  reconciler journal export journal.json
  reconciler journal export --account Acme journal.json
"""
    return command(
        "export",
        "journal:export_journal",
        text,
        flags.argument("file", "[FILE]", required=False),
        *flags.records(),
        flags.option("--account NAME", "Which account, if the journal knows several."),
    )


def _journal_import() -> click.Command:
    text = """Bring an export into the journal of the same service and account.

What this journal knows better is kept: a newer record, or a later write of its own. What is imported counts only while
Glider still shows the same token, due time or schedule id.

\b
  reconciler journal import journal.json
"""
    return command(
        "import",
        "journal:import_journal",
        text,
        flags.argument("file", "FILE"),
        *flags.records(),
        *flags.output("text", "json"),
    )


def _journal() -> click.Command:
    text = """Carry what was confirmed from one journal to another.

Where Glider keeps no reason with a pause, only the journal proves who paused. Export it after an apply, and import that
file when the journal was lost. Neither needs a key or asks a service.

\b
  reconciler journal export journal.json
  reconciler journal import journal.json
"""
    return group("journal", text, {"export": _journal_export, "import": _journal_import})


def _schema() -> click.Command:
    text = """Print the JSON Schema of the files (draft 2020-12).

Editors use it for a file that begins with this line:

\b
  # yaml-language-server: $schema=automation.schema.json

\b
  reconciler schema > automation.schema.json
"""
    return command("schema", "files:print_schema", text)


def _sandbox_load() -> click.Command:
    text = """Fill the sandbox from SEED, a YAML file of portfolios. This replaces everything in it.

\b
  reconciler sandbox load examples/quickstart/sandbox.yaml
"""
    return command("load", "sandbox:load_seed", text, flags.argument("seed", "SEED"), _sandbox_file())


def _sandbox_reset() -> click.Command:
    text = """Put the sandbox back to the seed it was loaded from, clock included.

\b
  reconciler sandbox reset
"""
    return command("reset", "sandbox:reset", text, _sandbox_file())


def _sandbox_advance() -> click.Command:
    text = """Move the sandbox's clock ahead by DURATION, such as 90m or 3d; due runs happen.

\b
  reconciler sandbox advance 3d
"""
    return command("advance", "sandbox:advance", text, click.Argument(("duration",)), _sandbox_file())


def _sandbox_serve() -> click.Command:
    text = """Serve the sandbox on a port, until interrupted; any key is accepted.

\b
  reconciler sandbox serve --port 8080
"""
    return command(
        "serve",
        "sandbox:serve",
        text,
        flags.option("--host TEXT", "The address to listen on.", default="127.0.0.1"),
        flags.count("--port N", "0 takes any free one.", most=65535, default=8080),
        _sandbox_file(),
    )


def _sandbox() -> click.Command:
    text = """Run the embedded Glider: a simulator of the service, to learn on and to test pipelines on.

It behaves as the service is documented, keeps its portfolios in one file, and moves no money.

\b
  reconciler sandbox load examples/quickstart/sandbox.yaml
  reconciler plan --sandbox                     in process, no port
  reconciler sandbox serve --port 8080          the same over HTTP
  reconciler sandbox advance 3d                 let runs happen
  reconciler sandbox reset                      back to the seed
"""
    commands = {"load": _sandbox_load, "reset": _sandbox_reset, "advance": _sandbox_advance, "serve": _sandbox_serve}
    return group("sandbox", text, commands)


def _action() -> click.Command:
    text = """Run a command as a step of GitHub Actions. Called by action.yml; its inputs are environment variables."""
    return command("action", "action:action", text)


def _sandbox_file() -> click.Option:
    """Return ``--sandbox`` for the commands that always work on a sandbox."""
    return flags.option("--sandbox FILE", "The sandbox's file.", name="file", default=flags.DEFAULT_SANDBOX)


LOCAL_MAKERS: Final[Mapping[str, Callable[[], click.Command]]] = {
    "init": _init,
    "validate": _validate,
    "show": _show,
    "explain": _explain,
    "history": _history,
    "journal": _journal,
    "schema": _schema,
    "sandbox": _sandbox,
    "action": _action,
}
