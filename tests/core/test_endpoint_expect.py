"""Whom the files expect: what is compared, and what is said of another one."""

from __future__ import annotations

import pytest

from reconciler.core.endpoint import NOTHING, Expect, expect_of, mismatch, require_expected
from reconciler.core.errors import ExitReason, NotExpected
from reconciler.core.text import label

LIVE = "https://api.glider.fi"
STAGING = "https://staging.glider.fi"
BOTH = Expect(url=LIVE, account="Acme EU")
OTHER_URL = f"the files expect the service {LIVE}, and this is {STAGING}"


@pytest.mark.parametrize(
    ("expect", "url", "account", "said"),
    [
        (NOTHING, LIVE, "Acme EU", None),
        (BOTH, LIVE, "Acme EU", None),
        (BOTH, LIVE, None, None),
        (BOTH, None, "Acme EU", None),
        (BOTH, None, None, None),
        (BOTH, STAGING, None, OTHER_URL),
        (BOTH, STAGING, "Acme US", OTHER_URL),
        (BOTH, LIVE, "Acme US", "the files expect the account Acme EU, and this key belongs to Acme US"),
        (BOTH, LIVE, "acme eu", "the files expect the account Acme EU, and this key belongs to acme eu"),
        (BOTH, LIVE, " ", "the files expect the account Acme EU, and this key belongs to one without a name"),
        (Expect(url=LIVE), LIVE, "anybody", None),
        (Expect(account="Acme EU"), STAGING, " Acme EU\n", "harmless"),
        (Expect(account="Acme EU"), STAGING, " Acme EU ", None),
        (Expect(url=LIVE), "sandbox://\u202e", None, f"the files expect the service {LIVE}, and this is sandbox://"),
    ],
)
def test_what_is_compared(expect: Expect, url: str | None, account: str | None, said: str | None) -> None:
    """What is not known or not expected is not compared; another one is one harmless sentence."""
    found = mismatch(expect, url=url, account=account)
    if said == "harmless":
        assert found is not None
        assert found.isprintable()
        return
    assert (found or "").startswith(said or "")
    assert (found is None) is (said is None)
    assert "\u202e" not in (found or "")


def test_another_one_ends_with_its_own_exit_code() -> None:
    """Exit 7, as for every key that is the wrong one; nothing is raised where nothing contradicts."""
    require_expected(BOTH, url=LIVE, account="Acme EU")
    with pytest.raises(NotExpected) as caught:
        require_expected(BOTH, url=STAGING)
    assert caught.value.exit_reason is ExitReason.PERMISSION
    assert str(caught.value) == OTHER_URL


@pytest.mark.parametrize(
    ("url", "account", "expected"),
    [
        (LIVE, "Acme EU", BOTH),
        (LIVE, None, Expect(url=LIVE)),
        (LIVE, " \u200b ", Expect(url=LIVE, account="\\u{200b}")),
        (LIVE, "   ", Expect(url=LIVE)),
        ("http://127.0.0.1:8080", "Acme EU", NOTHING),
        ("https://localhost:8443", "Acme EU", NOTHING),
        ("sandbox://3f", "Sandbox", NOTHING),
    ],
)
def test_what_an_import_writes(url: str, account: str | None, expected: Expect) -> None:
    """The service and its account, as far as they are known; nothing for trying things out."""
    assert expect_of(url=url, account=account) == expected
    assert mismatch(expected, url=url, account=account) is None


def test_a_long_name_still_agrees_with_itself() -> None:
    """A name that files can't hold as it is, is cut the same way on both sides."""
    name = "x" * 300
    found = label(name)
    assert found is not None
    assert len(found) == 200
    assert mismatch(Expect(account=found), account=name) is None
