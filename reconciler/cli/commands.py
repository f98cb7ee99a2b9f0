"""The commands that ask Glider, as they are declared: help, options, and the function that carries each out.

Out: :data:`MAKERS`, functions that make click's commands, those of :mod:`reconciler.cli.localcommands` among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from reconciler.cli import flags
from reconciler.cli.declaring import SectionedCommand, command
from reconciler.cli.localcommands import LOCAL_MAKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


WATCH_SECONDS: Final = 10
SHORTEST_WATCH_SECONDS: Final = 2


def _plan() -> click.Command:
    text = """Show what apply would do, and do nothing.

Reads the live status of every declared portfolio and shows the difference: + start, > resume, ~ update, = pause,
! held (paused by somebody else), x blocked. A value with ? can't be read from Glider, so apply writes it once.

\b
  reconciler plan                                  from automation.yaml or automation/
  reconciler plan -f fleet/ --select group=mainnet
  reconciler plan --out plan.json                  save it; apply plan.json runs exactly this
  reconciler plan --base origin/main               tell changes of this branch from drift
  reconciler plan -o markdown                      for a comment
  reconciler plan --live live.json                 without a key, from what status --out saved
  reconciler plan --live 'live-*.json.gz'          the same from all shares of a fleet
  reconciler plan --sandbox                        against the embedded Glider
"""
    return command(
        "plan",
        "plan:plan",
        text,
        flags.files(),
        *flags.selection(),
        *flags.policy(),
        flags.option("--out FILE", "Save the plan as JSON for apply."),
        flags.option("--base REF", "Compare with the files at this Git revision, and say what caused each change."),
        flags.live(),
        flags.flag("--detailed-exitcode", text="Exit 2 when there are changes."),
        flags.metrics(),
        flags.choice(
            "--fail-on",
            many=True,
            of=("unmanaged", "held", "overdue"),
            text="Exit 1 when a portfolio is live that no file declares (or nobody can tell), when any is held, or "
            "when any did not run when it was due. Repeatable.",
        ),
        *flags.service(),
        *flags.output("text", "json", "markdown"),
    )


def _apply() -> click.Command:
    text = """Make live automation match the files, or run a saved plan.

Without PLAN: makes a plan, shows it and asks. With PLAN (from plan --out): runs exactly that plan, without asking.
Each portfolio is read again before its change; if it has changed since the plan, it is skipped as stale.

\b
  reconciler apply                          show, ask, change
  reconciler apply plan.json                run a saved plan
  reconciler apply --approved plan.json     plan anew; go on only with changes of that plan
  reconciler apply plan.json --join         together with other runners of that plan
  reconciler apply --auto-approve           for pipelines
  reconciler apply --allow resume=12        over a guard, by number
  reconciler apply --allow freeze=year-end  in a freeze, by name
  reconciler apply --sandbox                on the embedded Glider
"""
    return command(
        "apply",
        "apply:apply",
        text,
        flags.argument("plan_file", "[PLAN]", required=False),
        flags.files(),
        *flags.selection(),
        *flags.policy(),
        flags.option("--approved PLAN", "Go on only with changes of this saved plan, without asking."),
        flags.option("--fingerprint HEX", "Refuse a saved or approved plan with another fingerprint."),
        flags.flag("--auto-approve", text="Do not ask."),
        flags.flag(
            "--join", text="Carry out PLAN together with every other runner that does; needs a PostgreSQL journal."
        ),
        *flags.boldness(),
        flags.lock_timeout("another apply"),
        flags.allow(),
        flags.option(
            "--max-age DURATION",
            "Refuse a saved plan that was made from older reads.  [default: 1h for one from live files, else any age]",
        ),
        flags.choice(
            "--fail-on", many=True, of=("held", "overdue"), text="Exit 1 when something is held or overdue. Repeatable."
        ),
        flags.metrics(),
        *flags.service(),
        *flags.output("text", "json"),
    )


def _drift() -> click.Command:
    text = """Show where live automation is not as declared, and do nothing.

\b
  overdue     active, and Glider did not run it when it was due
  moved       it was as declared after our last write, and is not any more; or it follows another strategy than declared
  pending     it differs, and the journal does not say that it ever was as declared
  unverified  it can't be known whether it differs
  held        declared active, but paused by somebody else
  halted      a halt keeps it as it is until it is lifted; that alone is no drift

Exits 2 when it finds any of these, so that a nightly job can tell. Errors have the exit codes of plan, and win over 2.

\b
  reconciler drift
  reconciler drift --select group=mainnet -o markdown
  reconciler drift --unverified skip               only what is known to differ
  reconciler drift --fail-on overdue               exit 1, not 2, when something did not run
  reconciler drift --live 'live-*.json.gz'         from what status --out saved, all shares of a fleet
"""
    return command(
        "drift",
        "plan:drift",
        text,
        flags.files(),
        *flags.selection(),
        flags.unverified(),
        flags.live(),
        flags.choice("--fail-on", many=True, of=("overdue",), text="Exit 1 when something is overdue."),
        flags.metrics(),
        *flags.service(),
        *flags.output("text", "json", "markdown"),
    )


def _status() -> click.Command:
    text = """Show live automation of the declared portfolios: state, schedule, next run, last run, results.

What needs a person comes first: failed, overdue, held, halted, blocked, another strategy, a passed `until`. In a long
table the others are counted; --all lists them. Times are how far away they are; -v shows the moments.

The word after a schedule says how it is known: no word when Glider returned it, (recorded) from our last write,
(observed) from run times, ? when it can't be known. The note says who paused it: we, somebody else, or nobody knows.

Results of rebalances are those that were read before, as far as the journal keeps them, ? where it does not know the
last one. --results reads them: one more request a portfolio, and one for each result that is not known yet. A failed
run stays failed until a later one has ended well. Exits 1 when a portfolio could not be read.

With ID, declared or not: one portfolio in detail, with its last rebalances.

\b
  reconciler status
  reconciler status --problems                what needs a person, and nothing else
  reconciler status --results --all
  reconciler status --sort next --select team=fx
  reconciler status --watch=30
  reconciler status --fail-on failed-rebalance --fail-on overdue
  reconciler status ao04x0r6
  reconciler status --target ao04x0r6 -o json
  reconciler status --out live.json           save it; plan --live live.json needs no key
  reconciler status --shard 3/8 --out live-3.json.gz    a share of a large fleet
"""
    return command(
        "status",
        "status:status",
        text,
        flags.argument("portfolio", "[ID]", required=False),
        flags.files(),
        *flags.selection(),
        flags.api("The API of portfolios that no file declares."),
        flags.flag("--results", text="Read how the last rebalances ended."),
        flags.flag("--no-results", text="Leave out results, also those that were read before."),
        flags.flag("--problems", text="Show what needs a person, and nothing else; reads the results."),
        flags.flag("--all", "whole", text="List what needs nobody, too, however long that is."),
        flags.choice("--sort", of=("id", "next", "last", "name"), text="List all by this, not by what needs a person."),
        flags.choice(
            "--fail-on",
            many=True,
            of=("failed-rebalance", "overdue"),
            text="Exit 1 when a portfolio's last rebalance failed (reads the results), or when one is overdue. "
            "Repeatable.",
        ),
        _watch(),
        flags.option("--out FILE", "Save what was read, for plan --live; compressed if FILE ends in .gz."),
        flags.option(
            "--shard I/N",
            "Read share I of N alone, without results. auto/N takes I from an Indexed Job of Kubernetes, auto both "
            "from GitLab.",
        ),
        flags.option("--round WORD", "What the shares that belong together have in common.  [default: CI's run]"),
        flags.metrics(),
        *flags.service(),
        *flags.output("text", "json", "markdown"),
    )


def _load() -> click.Command:
    text = """Show who runs when: the runs of the next 24 hours by hour, the worst minute, and who runs in it.

The times are Glider's next runs, and later ones by the intervals. Nothing is guessed: portfolios whose times are not
known are counted. With PLAN (from plan --out), it shows the load before and after that plan.

\b
  reconciler load
  reconciler load --by group --next 7d
  reconciler load --by team --select tier=1
  reconciler load plan.json
"""
    return command(
        "load",
        "load:show_load",
        text,
        flags.argument("plan_file", "[PLAN]", required=False),
        flags.files(),
        *flags.selection(),
        flags.live(),
        flags.option("--next DURATION", "How far to look ahead, 1h to 7d. Default: 24h.", name="next"),
        flags.option("--by KEY", "Also by group, or by the values of this label.", name="by"),
        *flags.service(),
        *flags.output("text", "json", "markdown"),
    )


def _report() -> click.Command:
    text = """Write one HTML page of the fleet: problems, load, who runs when, results, costs.

The page needs nothing beside itself: open it from a disk, print it, keep it as an artifact. Nothing is changed. The
results are those that were read before, as far as the journal keeps them. A page that is there is replaced.

\b
  reconciler report --out fleet.html
  reconciler report --out fx.html --select team=fx
  reconciler report --out fleet.html --live live.json   without a key, from what status --out saved
  reconciler report --out fleet.html --plan plan.json   with the load before and after that plan
"""
    return command(
        "report",
        "load:write_report",
        text,
        flags.files(),
        *flags.selection(),
        flags.option("--out FILE", "The page. Needed."),
        flags.option("--plan FILE", "Tell of this saved plan, as of one to be approved, and not of one made now."),
        flags.live(),
        *flags.service(),
        *flags.output("text", "json"),
    )


def _rebalance() -> click.Command:
    text = """Run portfolios once now. It trades: it asks first, and without a terminal it needs --auto-approve.

The ids need not be declared; if one is, the files say which API manages it. A portfolio that is paused, or declared
paused, runs only when --although-paused names it. Each run is requested once. When an answer is lost, the next command
looks for that run first, and requests no other until it is found or --again names the portfolio. With --wait, each run
is followed until it is completed, failed or cancelled; Ctrl-C stops the waiting, not the run.

\b
  reconciler rebalance ao04x0r6
  reconciler rebalance ao04x0r6 b7k2m9q1 --wait --timeout 20m
  reconciler rebalance ao04x0r6 --skip-schedule-validation
  reconciler rebalance ao04x0r6 --although-paused ao04x0r6
  reconciler rebalance pf_01JWZEE2MF30 --api v2 --auto-approve -o json

Exits 0 when all were accepted (with --wait: completed), 6 when only some were, or when the end of one is not known.
When none went well: 5 where a halt or a freeze forbids them, 7 for the key, 8 when all are cooling down, 1 when they
failed, were cancelled or refused.
"""
    return command(
        "rebalance",
        "rebalance:rebalance",
        text,
        flags.argument("portfolios", "ID...", nargs=-1, required=True),
        flags.files(),
        flags.api("The API of portfolios that no file declares."),
        flags.flag("--skip-schedule-validation", text="Run them even without an active schedule (v1)."),
        flags.option("--although-paused ID", "Run this portfolio although it is paused. Repeatable.", many=True),
        flags.again(),
        flags.option("--allow freeze=NAME", "Run them although this freeze forbids it. Repeatable.", many=True),
        flags.flag("--wait", text="Follow each run to its end."),
        flags.option("--timeout DURATION", "How long --wait follows them.  [default: 10m]"),
        flags.flag("--auto-approve", text="Do not ask."),
        flags.lock_timeout("an apply"),
        *flags.service(),
        *flags.output("text", "json"),
    )


def _halt() -> click.Command:
    text = """Stop what runs, whatever the files say, until it is lifted. No merge undoes it.

Pauses everything selected that runs, as fast as Glider takes it, and asks for the number first. It waits for no apply:
one that is under way begins nothing more. Until `reconciler halt lift ID`, nothing of the selection is started,
resumed, updated or rebalanced, also what was paused before; it can still be paused. What was done stands in the journal
and in halts/ID.json: commit that file, so that every machine knows of it.

\b
  reconciler halt --reason oracle-is-off --all
  reconciler halt --reason audit --select team=fx
  reconciler halt --reason key-leaked ao04x0r6 b7k2m9q1
  reconciler halt --reason files-broken --known --auto-approve   all that the journal knows; needs no files
  reconciler halt list                                           which halts there are
  reconciler halt lift 20261122-7f3a9c                           the way back
"""
    return command(
        "halt",
        "halt:halt",
        text,
        flags.argument("portfolios", "[ID]...", nargs=-1, required=False),
        flags.option("--reason TEXT", "Why. Needed; everybody sees it at each portfolio."),
        flags.flag("--all", "everything", text="Everything that the files declare, and what they declare later."),
        flags.flag("--known", text="Everything that the journal knows; needs no files."),
        flags.files(),
        *flags.selection(),
        flags.api("The API of portfolios that neither files nor journal know."),
        flags.flag("--auto-approve", text="Do not ask."),
        *flags.service(parallelism=flags.HALT_PARALLELISM),
        *flags.output("text", "json"),
        kind=_Halt,
    )


def _halt_lift() -> click.Command:
    text = """Resume what a halt paused: exactly what is still in that very pause, on the schedule that it has.

What somebody else paused since stays as it is and is named; so does what another halt holds, or the files declare
paused by now. Guards, canary and freezes count. When nothing is left to do, the halt is lifted, and halts/ID.json says
so: commit it again. Where no journal knows of the halt, that file is enough. Without the files, their freezes and what
they declare paused are not known, and the default guards count.

\b
  reconciler halt lift 20261122-7f3a9c
  reconciler halt lift 20261122-7f3a9c --canary 1 --allow resume=40
  reconciler halt lift 20261122-7f3a9c --target ao04x0r6    a part of it; the halt holds on
  reconciler halt lift 20261122-7f3a9c --known              without the files, if they are broken
"""
    return command(
        "lift",
        "halt:lift",
        text,
        flags.argument("halt", "ID"),
        flags.flag("--known", text="Go by what the halt's file and the journal know; needs no files."),
        flags.files(),
        *flags.selection(),
        flags.api("The API of portfolios that only their marks tell of."),
        flags.flag("--auto-approve", text="Do not ask."),
        *flags.boldness(),
        flags.lock_timeout("another apply"),
        flags.allow(),
        *flags.service(),
        *flags.output("text", "json"),
    )


def _halt_list() -> click.Command:
    text = """Show the halts that the journal or a file in halts/ knows, the newest first. Needs no key.

\b
  reconciler halt list
  reconciler halt list -o json
"""
    return command("list", "journal:list_halts", text, *flags.records(), *flags.output("text", "json"))


class _Halt(SectionedCommand):
    """``halt``, which is a command by itself and has others below it."""

    @property
    def commands(self) -> Mapping[str, Callable[[], click.Command]]:
        """The commands below it, by name."""
        return {"lift": _halt_lift, "list": _halt_list}

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of the command that the first argument names, else its own."""
        if args and args[0] in self.commands:
            inner = self.commands[args[0]]()
            return inner.make_context(f"{info_name} {args[0]}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


def _import() -> click.Command:
    text = """Write what is live as YAML that declares exactly that: a plan right after it has nothing to do.

The v1 API has no list: give ids, as arguments or with --ids-from. v2 can list all of yours: --all, or --api v2 without
ids. Equal settings become groups. What can't be known is left out, with a comment that says so. Portfolios that the
files (-f) declare already are left alone. Without --out or --into, the YAML goes to stdout. No file is overwritten.

\b
  reconciler import ao04x0r6 b7k2m9q1
  reconciler import --ids-from ids.txt --names --out automation/imported.yaml
  reconciler import --all --out automation.yaml
  reconciler import --all --into automation.yaml   add what is new; comments stay
  reconciler import ao04x0r6 --all                 v1 by id, and v2 by its list

Exits 0 when everything was read, and 1 when something was not; stderr and the YAML name what is missing.
"""
    return command(
        "import",
        "import_:import_",
        text,
        flags.argument("portfolios", "[ID]...", nargs=-1),
        flags.ids_from(),
        flags.api("The API of the ids that are given; v2 without ids means --all."),
        flags.flag("--all", "whole", text="Everything that v2 lists."),
        flags.flag("--names", text="Read the names of v1 portfolios too: one more call each."),
        flags.option("--out FILE", "Save to a new file."),
        flags.option("--into FILE", "Add to this file; everything in it stays as it is."),
        flags.files(),
        *flags.service(),
        *flags.output("text", "json"),
    )


def _coverage() -> click.Command:
    text = """Show which portfolios are live although no file declares them. They are reported, and never touched.

The v2 API lists all of yours, 200 a call. v1 has no list: --ids-from takes ids that you have, and reads those that are
not declared. It works without any file, too: then nothing is declared.

\b
  reconciler coverage
  reconciler coverage --ids-from ids.txt -o json
  reconciler coverage --fail-on unmanaged          in a pipeline
  reconciler import --all --into automation.yaml   declare them as they are

Exits 1 when something could not be read (7 for the key, 8 when the service can't be reached), or --fail-on applies.
"""
    return command(
        "coverage",
        "coverage:coverage",
        text,
        flags.ids_from(),
        flags.choice(
            "--fail-on",
            many=True,
            of=("unmanaged",),
            text="Exit 1 when a portfolio is live that no file declares, or when nobody can tell.",
        ),
        flags.files(),
        *flags.service(),
        *flags.output("text", "json", "markdown"),
    )


def _doctor() -> click.Command:
    text = """Check key, account, scopes, service, v1 paths, rate limit, clock, journal and files.

It only reads: at most seven requests, each sent once and given up after 10 seconds. Nothing of the key is shown. To
find out which v1 paths the service has, it sends a GET to POST-only routes of one declared portfolio.

\b
  reconciler doctor
  reconciler doctor -f fleet/ -o json
  reconciler doctor --sandbox

Exits 0 when no check fails. Otherwise 7 for the key or its account, 8 when the service can't be reached, 1 for
anything else.
"""
    return command("doctor", "doctor:doctor", text, flags.files(), *flags.service(), *flags.output("text", "json"))


def _watch() -> click.Option:
    """Return ``--watch``, whose seconds may be left out."""
    return click.Option(
        ("--watch",),
        is_flag=False,
        flag_value=str(WATCH_SECONDS),
        callback=_seconds,
        metavar="[SECONDS]",
        help=f"Refresh the table every SECONDS [{WATCH_SECONDS}] until Ctrl-C; only on a terminal.",
    )


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:  # noqa: ARG001 - click's signature
    """Return how often to look, in whole seconds. An id after a bare ``--watch`` is refused with its repair."""
    if value is None:
        return None
    text = value.removesuffix("s")
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise click.BadParameter(f"{value!r} is not a number of seconds. A portfolio goes first: status ID --watch.")
    if int(text) < SHORTEST_WATCH_SECONDS:
        raise click.BadParameter(f"every {text} s is too often; the shortest is {SHORTEST_WATCH_SECONDS}.")
    return int(text)


MAKERS: Final[Mapping[str, Callable[[], click.Command]]] = {
    **LOCAL_MAKERS,
    "plan": _plan,
    "apply": _apply,
    "drift": _drift,
    "status": _status,
    "load": _load,
    "report": _report,
    "rebalance": _rebalance,
    "halt": _halt,
    "import": _import,
    "coverage": _coverage,
    "doctor": _doctor,
}
