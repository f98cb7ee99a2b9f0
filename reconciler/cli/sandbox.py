"""``reconciler sandbox``: fill, serve, reset and move on the embedded Glider."""

from __future__ import annotations

from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING

import click

from reconciler.cli.journalplace import make_folder
from reconciler.cli.options import DEFAULT_SANDBOX

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import closing
    from typing import Any

    from reconciler.sandbox.seed import Seed
    from reconciler.sandbox.store import Store

HELP = """Run the embedded Glider: a simulator of the service, to learn on and to test pipelines on.

It behaves as the service is documented, keeps its portfolios in one file, and moves no money.

\b
  reconciler sandbox load examples/quickstart/sandbox.yaml
  reconciler plan --sandbox                     in process, no port
  reconciler sandbox serve --port 8080          the same over HTTP
  reconciler sandbox advance 3d                 let runs happen
  reconciler sandbox reset                      back to the seed
"""


LOAD_HELP = """Fill the sandbox from SEED, a YAML file of portfolios; what was in it is replaced.

\b
  reconciler sandbox load examples/quickstart/sandbox.yaml
"""
RESET_HELP = """Put the sandbox back to the seed it was loaded from, clock included.

\b
  reconciler sandbox reset
"""
ADVANCE_HELP = """Move the sandbox's clock ahead by DURATION, such as 90m or 3d; due runs happen.

\b
  reconciler sandbox advance 3d
"""
SERVE_HELP = """Serve the sandbox on a port, until interrupted; any key is accepted.

\b
  reconciler sandbox serve --port 8080
"""


def _file(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--sandbox", "file", default=DEFAULT_SANDBOX, show_default=True, metavar="FILE", help="The sandbox's file."
    )(command)


@click.group(help=HELP)
def sandbox() -> None:
    """Hold the commands."""


@sandbox.command(help=LOAD_HELP)
@click.argument("seed", metavar="SEED")
@_file
def load(seed: str, file: str) -> None:
    """Read a seed and make the file."""
    from reconciler.core.text import plural
    from reconciler.sandbox.store import Store

    planted = _read_seed(seed)
    make_folder(Path(file))
    Store.load(Path(file), planted, now_ms=time_ns() // 1_000_000).close()
    click.echo(f"Loaded {plural(len(planted.portfolios), 'portfolio')} into {file}.")


@sandbox.command(help=RESET_HELP)
@_file
def reset(file: str) -> None:
    """Start over."""
    with _open(file) as store:
        store.reset(now_ms=time_ns() // 1_000_000)
    click.echo(f"Reset {file} to its seed.")


@sandbox.command(help=ADVANCE_HELP)
@click.argument("duration")
@_file
def advance(duration: str, file: str) -> None:
    """Move the clock on."""
    from reconciler.core.text import format_duration, parse_duration

    try:
        ms = parse_duration(int(duration) if duration.isascii() and duration.isdigit() else duration)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 90m, 3d or the like.", param_hint="DURATION") from error
    with _open(file) as store:
        store.advance(ms)
        ahead = store.clock_offset_ms
    click.echo(f"{file} is {format_duration(ahead)} ahead of the clock.")


@sandbox.command(help=SERVE_HELP)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0 takes any free one.")
@_file
def serve(host: str, port: int, file: str) -> None:
    """Listen and answer."""
    from reconciler.sandbox.app import create_app
    from reconciler.sandbox.serve import serve as listen

    def ready(url: str) -> None:
        click.echo(f"Serving {file} at {url}; stop with Ctrl-C. Use it with:", err=True)
        click.echo(f"  GLIDER_API_KEY=any GLIDER_BASE_URL={url} reconciler plan", err=True)

    with _open(file) as store:
        app = create_app(store, now_ms=lambda: time_ns() // 1_000_000)
        listen(app, host=host, port=port, ready=ready)


def _open(file: str) -> closing[Store]:
    from contextlib import closing

    from reconciler.sandbox.store import Store

    return closing(Store.open(Path(file)))


def _read_seed(name: str) -> Seed:
    """Read a seed by the same YAML rules as the files."""
    from reconciler.config.files import MAX_FILE_BYTES, read_file
    from reconciler.config.load import load_as
    from reconciler.core.errors import SandboxError
    from reconciler.sandbox.seed import SEED_FIELDS, examine

    try:
        content = read_file(Path(name), most=MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a name that no system knows
        why = getattr(error, "strerror", None) or error
        raise SandboxError(f"can't read the seed {name}: {why}", "Name a YAML file of portfolios.") from error
    if len(content) > MAX_FILE_BYTES:
        raise SandboxError(f"the seed {name} is larger than 8 MiB", "Name a YAML file of portfolios.")
    return load_as(name, content, SEED_FIELDS, examine)
