"""Measure the program against its targets: ``python -m benchmarks.run [--quick] [--only NAME] [--json FILE]``.

Out: one table; each row names what was measured, the baseline of the same run, the ratio, the target, and ok or over.
Times are wall-clock seconds of whole processes, medians of several runs, unless a row says otherwise. Seconds of
another machine mean nothing, so every target is a ratio or a figure for each portfolio.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.fleet import write_files
from benchmarks.processes import ROOT, Server, in_turns, output_of, program
from benchmarks.stages import STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; ``measured`` and ``baseline`` carry their unit, ``value`` is what ``target`` limits."""

    what: str
    measured: str
    baseline: str
    value: float
    target: float

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target

    def cells(self) -> tuple[str, ...]:
        """Return the row as text."""
        verdict = "ok" if self.ok else "OVER"
        return (self.what, self.measured, self.baseline, f"{self.value:.2f}", f"<= {self.target:g}", verdict)


@dataclass(frozen=True, slots=True)
class Size:
    """How much to measure: a full run, or a quick one for the way."""

    starts: int
    repeats: int
    plans: tuple[tuple[int, int, float], ...]
    """Portfolios, requests in flight, and the most that the whole may take as a multiple of waiting alone."""
    checked: int
    small: int
    large: int
    limited: int


FULL: Final = Size(
    starts=15,
    repeats=3,
    plans=((1_000, 10, 1.15), (10_000, 50, 1.5)),
    checked=10_000,
    small=10_000,
    large=100_000,
    limited=2_000,
)
QUICK: Final = Size(
    starts=5, repeats=1, plans=((1_000, 10, 1.15),), checked=2_000, small=2_000, large=20_000, limited=1_000
)
LATENCY_MS: Final = 50


def startup(size: Size, folder: Path) -> Iterator[Row]:
    """Compare the lightest commands with an interpreter that does nothing."""
    write_files(folder, 10, SEED)
    commands = {
        "pass": [sys.executable, "-c", "pass"],
        "version": [*program(), "--version"],
        "help": [*program(), "--help"],
        "validate": [*program(), "validate", "-f", str(folder)],
    }
    took = in_turns(commands, repeats=size.starts, cwd=folder)
    shown = (("version", "--version", 5.0), ("help", "--help", 5.0), ("validate", "validate, 10 portfolios", 8.0))
    for name, what, target in shown:
        ratio = took[name] / took["pass"]
        yield Row(what, _ms(took[name]), f"{_ms(took['pass'])} python -c pass", ratio, target)


def validate(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``validate`` of a large fleet with SafeLoader and jsonschema over the same files."""
    files = write_files(folder, size.checked, SEED)
    schema = ROOT / "schemas/automation.schema.json"
    ours = {"ours": [*program(), "validate", "-f", str(folder)]}
    naive = {"naive": [sys.executable, "-m", "benchmarks.naive", str(schema), *map(str, files)]}
    took = in_turns(ours, repeats=size.repeats, cwd=ROOT)["ours"]
    base = in_turns(naive, repeats=1, cwd=ROOT)["naive"]
    baseline = f"{base:.2f} s SafeLoader + jsonschema"
    yield Row(f"validate, {size.checked:,} portfolios", f"{took:.2f} s", baseline, took / base, 0.10)


def plan(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``plan`` over the loopback with waiting alone, and count what the server saw."""
    for count, parallelism, target in size.plans:
        files = folder / str(count)
        write_files(files, count, SEED)
        command = [*program(), "plan", "-o", "json", "-f", str(files), "--parallelism", str(parallelism)]
        command += ["--journal", str(folder / "journal.db")]
        with Server(count, SEED, LATENCY_MS) as server:
            took = in_turns({"plan": command}, repeats=size.repeats, cwd=folder, env=server.environment)["plan"]
            server.counts()
            document = json.loads(output_of(command, cwd=folder, env=server.environment))
            seen = server.counts()
        ideal = count / parallelism * LATENCY_MS / 1_000
        what = f"plan, {count:,} portfolios, {parallelism} at a time"
        yield Row(what, f"{took:.2f} s", f"{ideal:.2f} s waiting {LATENCY_MS} ms each", took / ideal, target)
        yield Row("  connections open", str(seen["most_open"]), str(parallelism), seen["most_open"] / parallelism, 1.0)
        reads, planned = seen["reads"], sum(document["summary"][kind] for kind in _KINDS)
        # One other request asks whose key it is.
        stray = abs(reads - count) + abs(planned - count) + abs(seen["others"] - 1)
        yield Row("  reads", f"{reads:,}, {planned:,} planned", f"{count:,} portfolios", float(stray), 0.0)


def limited(size: Size, folder: Path) -> Iterator[Row]:
    """Compare ``plan`` of a service that limits requests, and says so by 429 alone, with what the limit allows."""
    rate, count = 100, size.limited
    write_files(folder, count, SEED)
    command = [*program(), "plan", "-o", "json", "-f", str(folder), "--journal", str(folder / "journal.db")]
    for burst in (10, 20, 50):
        with Server(count, SEED, LATENCY_MS, rate, burst) as server:
            took = in_turns({"plan": command}, repeats=1, cwd=folder, env=server.environment)["plan"]
            seen = server.counts()
        ideal = count / rate
        what = f"plan, {count:,} portfolios, {rate} a second, burst {burst}"
        yield Row(what, f"{took:.2f} s", f"{ideal:.2f} s", took / ideal, 1.15)
        share = seen["refused"] / (seen["reads"] + seen["refused"])
        yield Row("  requests refused", str(seen["refused"]), f"{seen['reads']:,} served", share, 0.05)


_KINDS: Final = ("start", "resume", "pause", "update", "no_op", "held", "blocked")


def stages(size: Size, folder: Path) -> Iterator[Row]:
    """Measure the program's own work for each portfolio, and how it grows with the fleet."""
    pairs = _pairs(folder, size)
    small, large = ({key: median(pair[i][key] for pair in pairs) for key in pairs[0][0]} for i in (0, 1))
    each = {stage: small[stage] / size.small * 1e6 for stage in STAGES}
    ours = [stage for stage in STAGES if stage not in ("decode", "text")]  # a plan is shown in one form
    parts = ", ".join(f"{stage} {each[stage]:.1f}" for stage in ours)
    parts += f"; besides, with the HTTP client: decode {each['decode']:.1f}"
    total = sum(each[stage] for stage in ours)
    yield Row("CPU for each portfolio", f"{total:.1f} us ({parts})", "60 us", total, 60.0)
    grown = (large["peak_kib"] - small["peak_kib"]) / (size.large - size.small)
    measured = f"{grown:.2f} KiB, peak {large['peak_kib'] / 1024:.0f} MiB"
    yield Row("memory for each portfolio", measured, f"peak of {size.small:,} portfolios", grown, 3.0)
    for stage in STAGES:
        # The least of each: a run that was disturbed only ever takes longer, and the large one is hit more often.
        ratio = min(big[stage] for _, big in pairs) / min(little[stage] for little, _ in pairs)
        baseline = f"{small[stage]:.3f} s for {size.small:,}"
        yield Row(f"{stage}, {size.large:,} portfolios, CPU", f"{large[stage]:.3f} s", baseline, ratio, 11.0)


def _pairs(folder: Path, size: Size) -> list[tuple[dict[str, float], dict[str, float]]]:
    """Measure the small and the large fleet in turns: a machine that changes its speed does so for both."""
    commands = []
    for count in (size.small, size.large):
        write_files(folder / str(count), count, SEED)
        commands.append([sys.executable, "-m", "benchmarks.stages", str(folder / str(count)), str(count), str(SEED)])
    return [
        (json.loads(output_of(commands[0], cwd=ROOT)), json.loads(output_of(commands[1], cwd=ROOT)))
        for _ in range(size.repeats)
    ]


MEASURES: Final[dict[str, Callable[[Size, Path], Iterator[Row]]]] = {
    "startup": startup,
    "validate": validate,
    "plan": plan,
    "limited": limited,
    "stages": stages,
}


def _ms(seconds: float) -> str:
    return f"{seconds * 1_000:.0f} ms"


def _print(rows: list[Row]) -> None:
    head = ("what", "measured", "baseline", "ratio or figure", "target", "")
    cells = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def main() -> None:
    """Run what was asked for and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure speed and memory.")
    parser.add_argument("--quick", action="store_true", help="smaller fleets and fewer repeats")
    parser.add_argument("--only", choices=MEASURES, action="append", help="this measure alone; repeatable")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there as well")
    arguments = parser.parse_args()
    size = QUICK if arguments.quick else FULL
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="glider-bench-") as folder:
        for name in arguments.only or MEASURES:
            print(f"measuring {name} ...", file=sys.stderr)
            rows += MEASURES[name](size, Path(folder) / name)
    _print(rows)
    if arguments.json:
        document = [{**asdict(row), "ok": row.ok} for row in rows]
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
