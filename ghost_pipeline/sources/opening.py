"""From the setting `GHOST_SOURCE` to an adapter."""

from pathlib import Path

from ghost_pipeline.errors import SourceError
from ghost_pipeline.sources.files import FileSource
from ghost_pipeline.sources.source import Source


def open_source(location: str | None) -> Source:
    """The adapter for a location: so far a folder of files.

    Raises:
        SourceError: no location is set, or nothing can be read there.

    """
    if not location:
        raise SourceError(
            "source: GHOST_SOURCE is not set. Set it to a folder of canonical tables, or try "
            "`ghost-pipeline demo`, which brings its own",
        )
    if "://" in location:
        scheme = location.partition("://")[0]
        raise SourceError(
            f"source {scheme}://…: no adapter reads this. Set GHOST_SOURCE to a folder of Parquet, CSV or NDJSON files",
        )
    return FileSource(Path(location))
