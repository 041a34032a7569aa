"""From a location to an adapter, and what of a location may be shown."""

import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import SERVER_ADDRESS, shown_source
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source

SCHEMES = ("postgresql", "postgres", "mysql", "mariadb", "POSTGRESQL", "PostgreSQL", "postgresql+psycopg2", "oracle")
HOSTS = ("", "host", "host:5432", "[::1]:5432", "a,b:1", "%2Fvar%2Frun")
PARAMETERS = ("password", "PASSWORD", "passwd", "pwd", "Pwd", "sslpassword", "pass%77ord", "secret_access_key")
FILES = ("sqlite", "duckdb", "s3")


def every_byte(text: str) -> str:
    """A text with every byte percent-encoded."""
    return "".join(f"%{byte:02x}" for byte in text.encode())


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("/srv/source", "/srv/source"),
        ("sqlite:///app.db", "sqlite:///app.db"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://ada:s3cr3t@host:5432/db", "postgresql://ada:***@host:5432/db"),
        ("postgres://ada:s3cr3t@[::1]:5432,other/db", "postgres://ada:***@[::1]:5432,other/db"),
        ("postgresql://ada:s3:cr3t@host", "postgresql://ada:***@host/"),
        ("postgresql://host/db?user=ada&password=s3cr3t", "postgresql://host/db?…"),
        ("postgresql://ada:s3cr3t@x@host/db", "postgresql://…"),
        ("postgresql://ada:s3cr3t/x@host/db", "postgresql://…"),
        ("postgresql://ada:s3cr3t?x@host/db", "postgresql://…"),
        ("postgresql://ada:s3cr3t#x@host/db", "postgresql://…"),
        ("postgresql://ada:s3cr3t%@host/db", "postgresql://…"),
        ("postgresql://ada:s3cr3t/db", "postgresql://…"),
        ("mysql://ada:s3cr3t@host/db", "mysql://ada:***@host/db"),
        ("oracle://ada:s3cr3t@host/db", "oracle://…"),
        ("POSTGRESQL://ada:s3cr3t@host/db", "POSTGRESQL://…"),
        ("jdbc:postgresql://ada:s3cr3t@host/db", "…"),
        ("dbname=app password=s3cr3t", "…"),
        ("Server=host;Database=app;Uid=ada;Pwd=s3cr3t", "…"),
        ("user=u;key=s3cr3t;host=h", "…"),
        ("key=s3cr3t;Server = h", "…"),
        ("user%3Du;key%3Ds3cr3t", "…"),
        ("dbname=app", "…"),
        ("source/user=5", "source/user=5"),
        ("ada:s3cr3t@host/db", "…"),
        ("//ada:s3cr3t@host/db", "…"),
        ("ada%3As3cr3t%40host/db", "…"),
        ("postgresql:ada:s3cr3t@host", "…"),
        ("s3cr3t@host", "…"),
        ('"postgresql://ada:s3cr3t@host/db"', "…"),
        ("dbname=app host=db password=s3cr3t options=x://y", "…"),
        ("sqlite://ada:s3cr3t@host/db", "sqlite://…"),
        ("sqlite:///ada:s3cr3t@host/db", "sqlite://…"),
        ("sqlite:////ada:s3cr3t@host/db", "sqlite://…"),
        ("sqlite:///app.db?password=s3cr3t", "sqlite://…"),
        ("sqlite:////srv/app.db?mode=ro", "sqlite:////srv/app.db?mode=ro"),
        ("duckdb:///app.duckdb", "duckdb:///app.duckdb"),
        ("duckdb://ada:s3cr3t@host", "duckdb://…"),
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("s3://key:s3cr3t@bucket/prefix", "s3://…"),
        ("s3://bucket/key:s3cr3t@prefix", "s3://…"),
        ("s3://bucket/prefix?x=s3cr3t", "s3://…"),
        ("sqlite:///app.db?key=s3cr3t", "sqlite://…"),
        ("AccountName=app;AccountKey=s3cr3t", "…"),
        ("mysql -u ada -ps3cr3t -h host db", "…"),
        ("source/partition_key=7", "source/partition_key=7"),
        ("s3://bucket/prefix?secret_access_key=s3cr3t", "s3://…"),
        ("postgresql://host/db%3Fpassword=s3cr3t", "postgresql://…"),
        ("postgresql://ada:s3cr3t@%2Fvar%2Frun/db", "postgresql://ada:***@%2Fvar%2Frun/db"),
        ("source/date=2025-03-12", "source/date=2025-03-12"),
        ("/srv/me@work/source", "/srv/me@work/source"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, shown: str) -> None:
    assert shown_source(location) == shown


def test_settings_show_no_password_as_text() -> None:
    settings = Settings.load(source="postgresql://ada:s3cr3t@host/db")
    assert "s3cr3t" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.source == "postgresql://ada:s3cr3t@host/db"


@pytest.mark.parametrize(
    "location", ["oracle://host/db", "postgresql+psycopg2://host/db", "sqlite://app.db", "dbname=app", "ada@host/db"]
)
def test_an_address_that_nothing_reads_says_what_is_read(location: str) -> None:
    with pytest.raises(SourceError, match=r"no adapter reads this\. Set GHOST_SOURCE to a folder .* sqlite:///file"):
        open_source(location)


def test_a_folder_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ada:b@c").mkdir()
    assert open_source("ada:b@c").tables() == set()


SECRET = "s3cr3t"  # noqa: S105 - the core of each password that is drawn
PASSWORDS = st.tuples(*[st.text(st.sampled_from("ab1:/@?#%&=+ .'\"\\[]ü"), max_size=4)] * 2).map(SECRET.join)
FORMS = st.sampled_from(
    [
        *(f"{scheme}://ada:{{}}@{host}/db" for scheme in SCHEMES for host in HOSTS),
        *(f"{scheme}://{host}/db?{name}={{}}&x=y" for scheme in SCHEMES for host in HOSTS for name in PARAMETERS),
        *(
            f"{scheme}:///{path}?{name}={{}}"
            for scheme in FILES
            for path in ("app.db", "/srv/app")
            for name in PARAMETERS
        ),
        *(f"{scheme}://{{}}@host/db" for scheme in FILES),
        *(f"{start}ada:{{}}@host/db" for start in ("", "/", "//", "./", "jdbc:", "postgresql:", "sqlite:///", "s3://")),
        *(f"s3://bucket/prefix?{name}={{}}" for name in PARAMETERS),
        "s3://bucket/ada:{}@host/prefix",
        *(f"host=h dbname=app user=ada {name}={{}}" for name in PARAMETERS),
        *(f"Server=h;Database=app;Uid=ada;{name} = {{}};" for name in PARAMETERS),
    ]
)


@given(form=FORMS, password=PASSWORDS, encoded=st.sampled_from([str, quote, partial(quote, safe=""), every_byte]))
@settings(deadline=None)
def test_no_spelling_shows_its_password(form: str, password: str, encoded: Callable[[str], str]) -> None:
    location = form.format(encoded(password))
    own = Settings.load(source=location)
    shown = [shown_source(location), repr(own), own.model_dump_json()]
    if SERVER_ADDRESS.fullmatch(location) is None:
        with pytest.raises(SourceError) as raised:
            open_source(location)
        shown += traceback.format_exception(raised.value)
    assert [text for text in shown if SECRET in unquote(text)] == []
