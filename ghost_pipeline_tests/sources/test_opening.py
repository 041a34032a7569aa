"""From a location to an adapter, and what of a location may be shown."""

import pytest

from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import shown_source
from ghost_pipeline.settings import Settings
from ghost_pipeline.sources.opening import open_source


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
        ("mysql://ada:s3cr3t@host/db", "mysql://…"),
    ],
)
def test_a_location_is_shown_without_its_password(location: str, shown: str) -> None:
    assert shown_source(location) == shown


def test_settings_show_no_password_as_text() -> None:
    settings = Settings.load(source="postgresql://ada:s3cr3t@host/db")
    assert "s3cr3t" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert settings.source == "postgresql://ada:s3cr3t@host/db"


@pytest.mark.parametrize("location", ["mysql://host/db", "postgresql+psycopg2://host/db", "sqlite://app.db"])
def test_an_address_that_nothing_reads_says_what_is_read(location: str) -> None:
    with pytest.raises(SourceError, match=r"no adapter reads this\. Set GHOST_SOURCE to a folder .* sqlite:///file"):
        open_source(location)
