"""Names of schedules, workflows and the rest: the same for the same instance, portfolio and number.

No randomness: a test that resets nothing gets the same ids again, and a run's id need not be stored.
"""

from __future__ import annotations

from hashlib import blake2b


def schedule_id(instance: str, portfolio: str, number: int) -> str:
    """Return the id of the ``number``-th schedule of a portfolio."""
    return f"sched_{_digest(8, 'schedule', instance, portfolio, number)}"


def workflow_id(instance: str, portfolio: str, number: int) -> str:
    """Return the id of the ``number``-th run of a portfolio."""
    return f"rebal_{_digest(8, 'workflow', instance, portfolio, number)}"


def run_id(instance: str, portfolio: str, number: int) -> str:
    """Return the id of the one attempt that the ``number``-th run of a portfolio takes."""
    return f"run_{_digest(8, 'run', instance, portfolio, number)}"


def transaction_hash(instance: str, portfolio: str, number: int) -> str:
    """Return the hash of the transaction that the ``number``-th run of a portfolio ends in."""
    return f"0x{_digest(32, 'transaction', instance, portfolio, number)}"


def owner_address(instance: str, portfolio: str) -> str:
    """Return the address that owns a portfolio."""
    return f"0x{_digest(20, 'owner', instance, portfolio, 0)}"


def _digest(size: int, *parts: object) -> str:
    return blake2b(":".join(map(str, parts)).encode(), digest_size=size).hexdigest()
