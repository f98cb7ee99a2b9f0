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


def operation_id(instance: str, portfolio: str, number: int) -> str:
    """Return the id of the ``number``-th manual rebalance of an enrolled portfolio.

    It holds a run id that is itself URL-encoded, as in life (API facts §1.4): who does not encode it again into a
    path asks for another operation.
    """
    return f"rebalance:{portfolio}:run%3A{_digest(8, 'operation', instance, portfolio, number)}"


def smart_account(instance: str, portfolio: str) -> str:
    """Return the address of the account that holds what an enrolled portfolio owns."""
    return f"0x{_digest(20, 'account', instance, portfolio, 0)}"


def owner_address(instance: str, portfolio: str) -> str:
    """Return the address that owns a portfolio."""
    return f"0x{_digest(20, 'owner', instance, portfolio, 0)}"


def _digest(size: int, *parts: object) -> str:
    return blake2b(":".join(map(str, parts)).encode(), digest_size=size).hexdigest()
