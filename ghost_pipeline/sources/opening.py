"""From the settings `GHOST_SOURCE` and `GHOST_SOURCE_MAPPING` to an adapter."""

from pathlib import Path

from ghost_pipeline.errors import SourceError
from ghost_pipeline.locations import MASKED, SCHEME, ObjectAddress, shown_source
from ghost_pipeline.sources import duckdb_file, sqlite
from ghost_pipeline.sources.duckdb_file import DuckDbSource
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.mapping import load_mapping
from ghost_pipeline.sources.postgres import PostgresSource
from ghost_pipeline.sources.source import Source
from ghost_pipeline.sources.sqlite import SqliteSource

FORMS = (
    "a folder of Parquet, CSV or NDJSON files, to s3://bucket/prefix with such files, to "
    "postgresql://user:password@host:port/database, to mysql://user:password@host:port/database, to sqlite:///file or "
    "to duckdb:///file, with special characters of user and password percent-encoded (@ is %40)"
)
"""What GHOST_SOURCE may be, for messages."""


def open_source(location: str | None, mapping: Path | None = None) -> Source:
    """Return the adapter for a location: a folder or bucket of files, or the server or file of a database.

    Args:
        location: the folder or address of the canonical tables.
        mapping: a file with their names there.

    Raises:
        SourceError: no location is set, the mapping is wrong, or nothing can be read there.

    """
    if not location:
        raise SourceError(
            "source: GHOST_SOURCE is not set. Set it to a folder of canonical tables, or try "
            "`ghost-pipeline demo`, which brings its own",
        )
    mapped = load_mapping(mapping)
    if location.startswith(("postgresql://", "postgres://")):
        return PostgresSource(location, mapped)
    if location.startswith(("mysql://", "mariadb://")):
        # Its driver is needed for nothing else.
        from ghost_pipeline.sources.mysql import MySqlSource  # noqa: PLC0415

        return MySqlSource(location, mapped)
    if location.startswith(sqlite.SCHEME):
        return SqliteSource(location, mapped)
    if location.startswith(duckdb_file.SCHEME):
        return DuckDbSource(location, mapped)
    if location.startswith(SCHEME):
        return FileSource(_bucket(location), mapped)
    if Path(location).is_dir():
        return FileSource(Path(location), mapped)
    shown = shown_source(location)
    if "://" in location or MASKED in shown:
        raise SourceError(f"source {shown}: no adapter reads this. Set GHOST_SOURCE to {FORMS}")
    raise SourceError(f"source {location}: not a folder. Set GHOST_SOURCE to {FORMS}")


def _bucket(location: str) -> ObjectAddress:
    try:
        return ObjectAddress.parse(location)
    except ValueError as error:
        raise SourceError(
            f"source {shown_source(location)}: {error}. Credentials and endpoint belong into variables: "
            f"AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL",
        ) from None
