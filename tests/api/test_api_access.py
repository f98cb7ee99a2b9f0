"""Keys: what is accepted, and what a person is told instead."""

from __future__ import annotations

import pytest

from reconciler.api.access import checked_key
from reconciler.core.errors import ApiError, FailureKind


@pytest.mark.parametrize("text", ["", "  \n", "gldr sk", "gldr\nsk", "gldr\x00sk", "schlüssel", "a\x7fb"])
def test_a_key_that_can_not_be_one_is_refused_without_showing_it(text: str) -> None:
    """A key that no header can carry ends in the error for a missing permission, naming the variable only."""
    with pytest.raises(ApiError) as caught:
        checked_key(text)
    assert caught.value.kind is FailureKind.UNAUTHENTICATED
    assert "GLIDER_API_KEY" in str(caught.value)
    assert not text.strip() or text.strip() not in str(caught.value)


def test_whitespace_around_the_key_is_dropped() -> None:
    """A line break from a secret's file does no harm."""
    assert checked_key(" gldr_sk_abc\r\n") == "gldr_sk_abc"
