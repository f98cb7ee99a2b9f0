"""Whom the files expect at the other end: compared with whom we speak to, never used to connect.

In: what the files say, the base URL in its one spelling (:mod:`reconciler.core.baseurl`), the account that the key
belongs to. Out: nothing where they agree, else one sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from reconciler.core.baseurl import is_loopback
from reconciler.core.errors import NotExpected
from reconciler.core.text import harmless

_LONGEST_ACCOUNT: Final = 200
"""Characters of an account's name in the files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What the files expect; ``None`` where they leave it open. ``url`` is in its one spelling."""

    url: str | None = None
    account: str | None = None

    @property
    def empty(self) -> bool:
        """Whether the files expect nothing at all."""
        return self.url is None and self.account is None


NOTHING: Final = Expect()
"""What files without ``service.expect`` expect."""


def account_label(name: str) -> str | None:
    """Return the name of an account as the files spell it: one harmless line of up to 200 characters.

    ``None`` where nothing visible is left.
    """
    kept = harmless(name).strip()
    return (kept if len(kept) <= _LONGEST_ACCOUNT else kept[: _LONGEST_ACCOUNT - 1] + "…") or None


def mismatch(expect: Expect, *, url: str | None = None, account: str | None = None) -> str | None:
    """Return in one sentence why this is not whom the files expect, ``None`` where nothing contradicts them.

    ``url`` is the base URL in its one spelling, ``account`` the tenant's name as the service tells it. What is
    ``None`` is not known and not compared, so that the URL can be compared before anything is sent.
    """
    if expect.url is not None and url is not None and url != expect.url:
        return f"the files expect the service {expect.url}, and this is {harmless(url)}"
    if expect.account is None or account is None:
        return None
    found = account_label(account)
    if found == account_label(expect.account):
        return None
    return f"the files expect the account {expect.account}, and this key belongs to {found or 'one without a name'}"


def require_expected(expect: Expect, *, url: str | None = None, account: str | None = None) -> None:
    """Raise :class:`NotExpected` where :func:`mismatch` has something to say."""
    said = mismatch(expect, url=url, account=account)
    if said is not None:
        raise NotExpected(said, "Use the service and the key that belong to these files, or other files.")


def expect_of(*, url: str, account: str | None) -> Expect:
    """Return what files should say that were made from this service; nothing of the sandbox or a loopback service.

    Those are for trying things out: another one is the rule there.
    """
    if not url.startswith("https://") or is_loopback(url):
        return NOTHING
    return Expect(url=url, account=account_label(account) if account is not None else None)
