"""What waits for a service, against waiting alone: plans, an apply, limits, the list, and the cost of a request."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import shutil
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from benchmarks.fleet import SEED, members, write_files, write_pauses
from benchmarks.processes import ROOT, Server, busy, from_address, in_turns, output_of, program, slow_disk
from benchmarks.rows import Row
from tests.postgres import running_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.rows import Size, Waiting
    from tests.postgres import Server as Database

ROWS: Final = 200
_KINDS: Final = ("start", "resume", "pause", "update", "no_op", "held", "blocked")
_ROUND_TRIPS: Final = 3
"""A look, a write, and a look at what came of it."""


def plan(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``plan`` over the loopback with waiting alone, and count what the server saw."""
    for work in size.plans:
        files = folder / str(work.count)
        write_files(files, work.count, SEED)
        command = _plan(files, "-o", "json", "--parallelism", str(work.parallelism))
        with Server(work.count, SEED, work.latency_ms) as server:
            for load, target in (("quiet", work.quiet), ("busy", work.busy)):
                if target is None:
                    continue
                with busy() if load == "busy" else contextlib.nullcontext():
                    repeats = size.repeats if work.count <= size.small else 1
                    took = in_turns({"plan": command}, repeats=repeats, cwd=folder, env=server.environment)["plan"]
                yield _waited(f"plan, {work.what}, {load}", took, work, 1, target)
            server.counts()
            document = json.loads(output_of(command, cwd=folder, env=server.environment))
            yield from _counted(server.counts(), document, work)


def _plan(files: Path, *more: str) -> list[str]:
    return [*program(), "plan", "-f", str(files), "--journal", str(files.parent / "journal.db"), *more]


def _waited(what: str, took: float, work: Waiting, round_trips: int, target: float) -> Row:
    ideal = round_trips * work.count / work.parallelism * work.latency_ms / 1_000
    return Row(what, f"{took:.2f} s", f"{ideal:.2f} s waiting", took / ideal if ideal else 0.0, target)


def _counted(seen: dict[str, int], document: dict[str, dict[str, int]], work: Waiting) -> Iterator[Row]:
    most, count = seen["most_open"], work.count
    yield Row("  connections open", str(most), str(work.parallelism), most / work.parallelism, 1.0)
    reads, planned = seen["reads"], sum(document["summary"][kind] for kind in _KINDS)
    # One other request asks whose key it is.
    stray = abs(reads - count) + abs(planned - count) + abs(seen["others"] - 1)
    yield Row("  reads", f"{reads:,}, {planned:,} planned", f"{count:,} portfolios", float(stray), 0.0)


def apply(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``apply`` of a saved plan that pauses everything with waiting alone, on disks of several speeds."""
    work = size.apply
    _declare_pauses(folder, work.count)
    for name, slow_ms, target in (
        ("quiet", 0, work.quiet),
        ("busy", 0, work.busy),
        ("an fsync takes 1 ms more", 1, work.slow),
        ("an fsync takes 5 ms more", 5, work.slow),
    ):
        variables = slow_disk(folder, slow_ms) if slow_ms else {}
        if bool(variables) is not bool(slow_ms):
            print("no C compiler, so no slow disk", file=sys.stderr)
            continue
        assert target is not None
        yield _carried_out(f"apply, {work.what}, {name}", size, folder / name, variables, target, loaded=name == "busy")


def halt(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``halt`` of a whole fleet that runs, from files that hold all of it, with waiting alone."""
    work = size.apply
    assert work.quiet is not None
    _declare_pauses(folder, work.count)
    yield _carried_out(f"halt --all, {work.what}", size, folder / "halt", {}, work.quiet, halts=True)


def _declare_pauses(folder: Path, count: int) -> None:
    """Write files that declare paused what runs of a fleet twice as large."""
    fleet = itertools.islice((m for m in members(2 * count, SEED) if m.live_status == "active"), count)
    write_pauses(folder / "files", fleet)


def _carried_out(
    what: str,
    size: Size,
    name: Path,
    variables: dict[str, str],
    target: float,
    *,
    loaded: bool = False,
    halts: bool = False,
) -> Row:
    work = size.apply
    runs = []
    for number in range(size.repeats):
        try:
            runs.append(_applied(work, name.with_name(f"{name.name} {number}"), variables, loaded=loaded, halts=halts))
        except SystemExit as failed:  # where everything takes too long, looks grow too old, and nothing is sent on them
            print(str(failed)[-300:], file=sys.stderr)
            return Row(what, "not all done", f"{work.count:,} changes", math.inf, target)
    return _waited(what, statistics.median(runs), work, _ROUND_TRIPS, target)


def _applied(work: Waiting, folder: Path, variables: dict[str, str], *, loaded: bool, halts: bool = False) -> float:
    """Return the seconds of one apply, or halt, of a fleet and with a journal that no other has touched."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(2 * work.count, SEED, work.latency_ms))
        here, environment = folder.parent, {**server.environment, **variables}
        folder.mkdir()
        saved, journal = str(folder / "plan.json"), ["--journal", str(folder / "journal.db")]
        if not halts:
            output_of([*program(), "plan", "-f", "files", "--out", saved, *journal], cwd=here, env=environment)
        if loaded:
            stack.enter_context(busy())
        server.counts()
        stop = ["halt", "--reason", "measured", "--all", "-f", "files", "--auto-approve"]
        what = stop if halts else ["apply", saved]
        command = [*program(), *what, "-o", "json", "--parallelism", str(work.parallelism), *journal]
        took = in_turns({"apply": command}, repeats=1, cwd=here, env=environment)["apply"]
        if (written := server.counts()["writes"]) != work.count:
            raise SystemExit(f"{written} writes were sent for {work.count} changes")
    return took


def joined(size: Size, folder: Path) -> Iterator[Row]:
    """Compare an apply by several runners, each with a limit of its own address, with one runner alone."""
    count, rate, runners = size.joined, 25, 4
    _declare_pauses(folder, count)
    if shutil.which("cc") is None or shutil.which("postgres") is None:
        print("no C compiler or no PostgreSQL, so no joined apply", file=sys.stderr)
        return
    with running_server() as database:
        one, several = (_joined(count, rate, folder / str(n), database, runners=n) for n in (1, runners))
    what = f"apply --join, {count:,} changes, {rate} requests a second each"
    yield Row(f"{what}, {runners} runners", f"{several:.1f} s", f"{one:.1f} s one", several / one, 1 / (0.6 * runners))


def _joined(count: int, rate: int, folder: Path, database: Database, *, runners: int) -> float:
    """Return the seconds that so many runners take for one plan, the last of them."""
    folder.mkdir()
    journal = ["--journal", str(database.database())]
    with Server(2 * count, SEED, 50, rate, 10) as server:
        saved = str(folder / "plan.json")
        plan = [*program(), "plan", "-f", "files", "--out", saved, *journal]
        output_of(plan, cwd=folder.parent, env=server.environment)
        server.counts()
        command = [*program(), "apply", saved, "-o", "json", "--join", "--lock-timeout", "1m", *journal]
        here = [from_address(folder, f"127.0.1.{number}") for number in range(1, runners + 1)]
        began = time.perf_counter()
        with ThreadPoolExecutor(runners) as pool:
            list(pool.map(lambda env: output_of(command, cwd=folder, env={**server.environment, **env}), here))
        took = time.perf_counter() - began
        if (written := server.counts()["writes"]) != count:
            raise SystemExit(f"{written} writes were sent for {count} changes")
    return took


def limited(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``plan`` of a service that limits requests with what the limit allows.

    It says so by 429 alone, or, with windows of a second, by headers too.
    """
    rate, count = 100, size.limited
    write_files(folder / "files", count, SEED)
    command = _plan(folder / "files", "-o", "json")
    for name, burst in (("burst 10", 10), ("burst 20", 20), ("burst 50", 50), ("X-RateLimit headers", 0)):
        with Server(count, SEED, 50, rate, burst) as server:
            took = in_turns({"plan": command}, repeats=1, cwd=folder, env=server.environment)["plan"]
            seen = server.counts()
        ideal = count / rate
        what = f"plan, {count:,} portfolios, {rate} a second, {name}"
        yield Row(what, f"{took:.2f} s", f"{ideal:.2f} s", took / ideal, 1.15)
        share = seen["refused"] / (seen["reads"] + seen["refused"])
        yield Row("  requests refused", str(seen["refused"]), f"{seen['reads']:,} served", share, 0.05)


def listing(size: Size, folder: Path) -> Iterator[Row]:
    """Compare reading the list of v2, page after page, with waiting alone."""
    folder.mkdir()
    count, latency_ms = size.listed, 50
    with Server(count, SEED, latency_ms) as server:
        command = [sys.executable, "-m", "benchmarks.reads", "list"]
        found = [float(output_of(command, cwd=ROOT, env=server.environment)) for _ in range(size.repeats)]
        pages = server.counts()["reads"] // size.repeats
    took, ideal = statistics.median(found), -(-count // ROWS) * latency_ms / 1_000
    what = f"list of v2, {count:,} portfolios, {latency_ms} ms"
    yield Row(what, f"{took:.2f} s", f"{ideal:.2f} s waiting, {pages:,} pages", took / ideal, 1.15)


def requests(size: Size, folder: Path) -> Iterator[Row]:
    """Compare the processor time of a read with that of the same request by httpcore2 alone."""
    folder.mkdir()
    count = size.requests
    with Server(count, SEED, 5) as server:
        command = [sys.executable, "-m", "benchmarks.reads", "requests", str(count)]
        pairs = [json.loads(output_of(command, cwd=ROOT, env=server.environment)) for _ in range(size.repeats)]
    ours, bare = (statistics.median(pair[name] for pair in pairs) for name in ("ours", "bare"))
    # 430 us where httpcore2 alone took 352: seconds of processor time of two machines, or hours, can't be compared.
    yield Row("CPU for a request, 50 at a time", f"{ours:.0f} us", f"{bare:.0f} us httpcore2 alone", ours / bare, 1.22)


def status(size: Size, folder: Path) -> Iterator[Row]:
    """Count the requests of ``status``."""
    count = size.checked
    write_files(folder / "files", count, SEED)
    command = [*program(), "status", "-f", "files", "-o", "json", "--parallelism", "50"]
    with Server(count, SEED, 0) as server:
        output_of(command, cwd=folder, env=server.environment)
        seen = server.counts()
    sent = seen["reads"] + seen["others"] - 1  # which asks whose key it is
    yield Row(f"status, {count:,} portfolios, requests", f"{sent:,}", f"{count:,} portfolios", sent / count, 1.0)
