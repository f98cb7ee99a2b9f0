"""The embedded Glider: an ASGI application over SQLite that behaves as the service is documented to.

A simulator for people, pipelines and tests; nothing in here ever talks to the real service. It knows nothing of the
reconciler's files, plans or client: they talk over HTTP only. This is the one door: nothing outside
imports a module of this package. Each name below is loaded where it is first used, because the store needs no HTTP and
only a served sandbox needs a server.

    app > v1, v2 > gateway > faults, simulator > wire, store > plant > seed > settings, portfolio, enrolled > model

``portfolio`` holds the values of v1 and ``enrolled`` those of v2: two kinds of things, with nothing in common but how
their runs go. ``serve`` runs the application on a port.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.sandbox.app import SandboxApp, create_app
    from reconciler.sandbox.enrolled import Enrolled, Strategy
    from reconciler.sandbox.faults import Fault, FaultKind, Faults, Operation, RetryAfterForm, parse_faults
    from reconciler.sandbox.model import AutomationState, Course, Refused
    from reconciler.sandbox.portfolio import DEFAULT_INTERVAL_MS, Portfolio
    from reconciler.sandbox.seed import SEED_FIELDS, Seed, examine, parse_seed
    from reconciler.sandbox.serve import bind, make_server, serve_app
    from reconciler.sandbox.simulator import Simulator
    from reconciler.sandbox.store import Store
    from reconciler.sandbox.wire import ConnectionLost

__all__ = [
    "DEFAULT_INTERVAL_MS",
    "SEED_FIELDS",
    "AutomationState",
    "ConnectionLost",
    "Course",
    "Enrolled",
    "Fault",
    "FaultKind",
    "Faults",
    "Operation",
    "Portfolio",
    "Refused",
    "RetryAfterForm",
    "SandboxApp",
    "Seed",
    "Simulator",
    "Store",
    "Strategy",
    "bind",
    "create_app",
    "examine",
    "make_server",
    "parse_faults",
    "parse_seed",
    "serve_app",
]

_ROOMS: Final = {
    "app": ("SandboxApp", "create_app"),
    "enrolled": ("Enrolled", "Strategy"),
    "faults": ("Fault", "FaultKind", "Faults", "Operation", "RetryAfterForm", "parse_faults"),
    "model": ("AutomationState", "Course", "Refused"),
    "portfolio": ("DEFAULT_INTERVAL_MS", "Portfolio"),
    "seed": ("SEED_FIELDS", "Seed", "examine", "parse_seed"),
    "serve": ("bind", "make_server", "serve_app"),
    "simulator": ("Simulator",),
    "store": ("Store",),
    "wire": ("ConnectionLost",),
}

if not TYPE_CHECKING:  # with this function, a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Return a name of the door from the module that has it."""
        for module, names in _ROOMS.items():
            if name in names:
                return getattr(import_module(f"reconciler.sandbox.{module}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
