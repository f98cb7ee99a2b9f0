"""What may name a journal on a server: no URL with a password, in whatever disguise."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.endpoint import JournalUrl, journal_url
from reconciler.core.errors import UsageError


@pytest.mark.parametrize("path", ["journal.db", ".reconciler/journal.db", "/tmp/a b/j.db", "C:\\j.db", "a=b.db", ""])
def test_a_path(path: str) -> None:
    """Whatever is no URL is a file."""
    assert journal_url(path) is None


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("postgresql://db.example.com/journals", "postgresql://db.example.com/journals"),
        ("postgres://u@h:5433/d", "postgresql://u@h:5433/d"),
        ("PostgreSQL://u@h/d", "postgresql://u@h/d"),
        ("postgresql://", "postgresql://"),
        ("postgresql:///d?service=journals", "postgresql:///d?service=journals"),
        ("postgresql://u@h1:1,h2:2/d?target_session_attrs=read-write&sslmode=verify-full", None),
        ("postgresql://u@[::1]/d", None),
        ("postgresql://u%40x@h/a%20b", None),
    ],
)
def test_a_url(given: str, shown: str | None) -> None:
    """It has one spelling, which is shown to people."""
    assert str(journal_url(given)) == (shown or given)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://u:sesame@h/d",
        "postgresql://u:@h/d",
        "postgres://:sesame@h/d",
        "postgresql://u:ses@ame@h/d",
        "postgresql://u:ses/ame@h/d",
        "postgresql://u:ses?ame@h/d",
        "postgresql://u@h/d?password=sesame",
        "postgresql://u@h/d?sslmode=require&password=sesame",
    ],
)
def test_a_password(given: str) -> None:
    """It is refused, and no word of it is repeated."""
    with pytest.raises(UsageError) as refused:
        journal_url(given)
    assert (refused.value.summary, refused.value.detail) == (
        "the URL of the journal holds a password",
        "Take it out; a password comes from PGPASSWORD, from ~/.pgpass or from a service file alone.",
    )


@pytest.mark.parametrize(
    ("parameter", "named"),
    [
        ("sslpassword=sesame", "sslpassword"),
        ("passfile=sesame", "passfile"),
        ("p%61ssword=sesame", "p%61ssword"),
        ("PASSWORD=sesame", "PASSWORD"),
        ("options=-csesame", "options"),
        ("a\x1b=sesame", "a\\u{1b}"),
        ("=sesame", ""),
    ],
)
def test_another_parameter(parameter: str, named: str) -> None:
    """Only those that are known to hold no secret are taken; the value of another is not repeated."""
    with pytest.raises(UsageError) as refused:
        journal_url(f"postgresql://u@h/d?{parameter}")
    assert refused.value.summary == f"the URL of the journal has the parameter {named}, which is not taken"
    assert "sesame" not in refused.value.detail


@pytest.mark.parametrize(
    "given",
    [
        *("mysql://h/d", "sqlite:///j.db", "https://h/d", "://", "postgres ://h/d"),
        *("postgresql:/h/d", "Postgres:h", "host=db", "user=u password = sesame", "dbname=d\nhost=h"),
    ],
)
def test_another_url(given: str) -> None:
    """It is refused, not taken for a file of that name."""
    with pytest.raises(UsageError, match="--journal takes a file or a URL that begins with postgresql://"):
        journal_url(given)


@pytest.mark.parametrize(
    "given", ["postgresql://u@h/a b", "postgresql://u@h/\u202e", "postgresql://u@h/\x00", "postgresql://ü@h/d"]
)
def test_letters_that_no_url_has(given: str) -> None:
    """They are refused: a URL is shown on terminals and in pages."""
    with pytest.raises(UsageError, match="holds characters that no URL has"):
        journal_url(given)


@given(st.text(st.sampled_from("u:@/?&=h%d.[]#"), max_size=20))
def test_no_password_gets_through(rest: str) -> None:
    """Whatever libpq would take for a password is refused: what stands behind a colon and before an at sign."""
    try:
        found = journal_url(f"postgresql://{rest}")
    except UsageError:
        return
    assert isinstance(found, JournalUrl)
    user, at, _ = found.text.partition("://")[2].rpartition("@")
    assert not at or ":" not in user
