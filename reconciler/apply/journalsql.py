"""The questions that are asked of the journal, as SQL: which write counts, and which is the newest of its kind.

In: nothing. Out: statements with named values (``:base_url``, ``:address``, ``:plans`` as a JSON list, …). What the
rows mean is :mod:`reconciler.apply.journalrows`'. All are made of constants alone; whatever is asked for is bound.

Rows belong to a service and an account (``:account``): what another account left is neither settled nor believed. Where
either account is not known, they may be one.

A write counts when it took or may have taken effect. A rebalance leaves state and schedule as they are.
"""

from __future__ import annotations

from typing import Final

from reconciler.core.intent import NO_EFFECT, TOOK_EFFECT, Call, WriteOutcome


def _mine(table: str) -> str:
    """Return the condition that a row of a table is of the service and account that are asked for."""
    return f"""({table}.base_url = :base_url
        AND ({table}.account IS NULL OR :account IS NULL OR {table}.account = :account))"""


def _words(words: frozenset[WriteOutcome]) -> str:
    return ", ".join(f"'{word}'" for word in sorted(words))


_COUNTS: Final = f"(outcome IS NULL OR outcome NOT IN ({_words(NO_EFFECT)}))"
_CONFIRMED: Final = f"outcome IN ({_words(TOOK_EFFECT)})"
_UNKNOWN: Final = f"outcome = '{WriteOutcome.UNKNOWN}'"
_NO_REBALANCE: Final = f"call <> '{Call.REBALANCE}'"
_ASKS_FOR_A_RUN: Final = (
    f"(call = '{Call.REBALANCE}' OR (call = '{Call.START}' AND json_extract(wanted, '$.run_now') = 1))"
)
_UNDER_PLANS: Final = """EXISTS (
    SELECT 1 FROM runs, json_each(:plans) AS plan
    WHERE runs.id = writes.run AND plan.value IN (runs.fingerprint, runs.approved)
)"""
# A write that carried its change to its end counts, whichever plan it was made under.
_COUNTS_FOR_SINCE: Final = f"{_COUNTS} AND {_NO_REBALANCE} AND ((step = 0 AND {_CONFIRMED}) OR NOT {_UNDER_PLANS})"
_INTENT: Final = "id, portfolio, call, wanted, intent_ms, token, step"

# Every address of one service by one step in the index each, however many writes there are.
_ALL: Final = """WITH RECURSIVE known (address) AS (
    SELECT MIN(portfolio) FROM writes WHERE base_url = :base_url
    UNION ALL
    SELECT (SELECT MIN(portfolio) FROM writes WHERE base_url = :base_url AND portfolio > known.address)
    FROM known WHERE known.address IS NOT NULL
)"""
_ONE: Final = "WITH known (address) AS (SELECT :address)"


def _newest(known: str, columns: str, which: str, call: str = "found.call") -> str:
    """Return the statement for the newest write to each known address of which something holds, sorted by address.

    Where that is another call than the one that is asked for, there is none.
    """
    return f"""{known}
        SELECT {columns} FROM known CROSS JOIN writes AS found ON found.id = (
            SELECT id FROM writes WHERE {_mine("writes")} AND portfolio = known.address AND {which}
            ORDER BY id DESC LIMIT 1
        ) AND found.call = {call} ORDER BY known.address"""  # noqa: S608 - made of constants alone


def _unanswered(which: str) -> str:
    """Return the statement for requests for a run that stayed unknown, and after which no other counts."""
    return f"""
        SELECT {_INTENT} FROM writes
        WHERE {_mine("writes")} AND {which} AND {_UNKNOWN} AND {_ASKS_FOR_A_RUN} AND NOT EXISTS (
            SELECT 1 FROM writes AS later
            WHERE {_mine("later")} AND later.portfolio = writes.portfolio AND later.id > writes.id
            AND {_COUNTS} AND {_ASKS_FOR_A_RUN}
        ) ORDER BY portfolio"""  # noqa: S608 - made of constants alone


def _records(which: str) -> str:
    """Return the statement for what was confirmed, and not made void by a later write that counts."""
    return f"""
        SELECT portfolio, state, interval_ms, offset_ms, schedule_id, confirmed_ms, marked, pause_reason, imported
        FROM confirmed
        WHERE {_mine("confirmed")} AND {which} AND NOT EXISTS (
            SELECT 1 FROM writes
            WHERE {_mine("writes")} AND writes.portfolio = confirmed.portfolio
            AND writes.id > confirmed.last_write AND {_COUNTS} AND {_NO_REBALANCE}
        ) ORDER BY portfolio"""  # noqa: S608 - made of constants alone


_THIS: Final = "portfolio = :address"

RECORDS: Final = _records("TRUE")
RECORD: Final = _records(_THIS)
SINCE_OF_ALL: Final = _newest(_ALL, "known.address, found.token", _COUNTS_FOR_SINCE)
SINCE: Final = _newest(_ONE, "known.address, found.token", _COUNTS_FOR_SINCE)
# The newest write that counts decides, of both kinds: after a resume of ours no pause of ours is in force.
_SETS_STATE: Final = f"{_COUNTS} AND call IN ('{Call.PAUSE}', '{Call.RESUME}', '{Call.START}')"
PAUSES: Final = _newest(_ALL, "known.address, found.token", _SETS_STATE, f"'{Call.PAUSE}'")
PAUSE: Final = _newest(_ONE, "known.address, found.token", _SETS_STATE, f"'{Call.PAUSE}'")
_CADENCE: Final = "known.address, found.wanted, found.outcome"
_SETS_CADENCE: Final = f"'{Call.SET_CADENCE}'"  # nothing else is ever written to a strategy
CADENCES: Final = _newest(_ALL, _CADENCE, _COUNTS, _SETS_CADENCE)
CADENCE: Final = _newest(_ONE, _CADENCE, _COUNTS, _SETS_CADENCE)
UNANSWERED_OF_ALL: Final = _unanswered("TRUE")
UNANSWERED: Final = _unanswered(_THIS)
UNSETTLED: Final = f"SELECT {_INTENT} FROM writes WHERE {_mine('writes')} AND outcome IS NULL ORDER BY id"  # noqa: S608 - as above
MAYBE_SENT: Final = f"""
    SELECT 1 FROM writes
    WHERE {_mine("writes")} AND {_THIS} AND call = :call AND {_UNKNOWN} AND {_UNDER_PLANS} LIMIT 1
"""  # noqa: S608 - as above
LAST_WRITE: Final = f"""
    SELECT token, call, wanted, intent_ms, outcome FROM writes
    WHERE {_mine("writes")} AND {_THIS} AND token = :token ORDER BY id DESC LIMIT 1
"""  # noqa: S608 - as above
CONFIRMED_AT: Final = "SELECT portfolio, confirmed_ms FROM confirmed WHERE base_url = :base_url"
SERVICES: Final = """
    SELECT base_url, account FROM writes UNION SELECT base_url, account FROM confirmed ORDER BY 1, 2
"""
KNOWS: Final = f"SELECT 1 FROM writes WHERE token = :token AND {_mine('writes')} LIMIT 1"  # noqa: S608 - as above
TRIGGERS: Final = f"""
    SELECT portfolio, COUNT(*) FROM writes
    WHERE {_mine("writes")} AND call = '{Call.REBALANCE}' AND intent_ms >= :since_ms AND {_COUNTS}
    GROUP BY portfolio ORDER BY portfolio
"""  # noqa: S608 - as above
