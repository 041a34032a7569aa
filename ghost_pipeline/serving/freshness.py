"""The age of published tables by the wall clock, and how old they may be; for monitoring only (G7.7)."""

from datetime import datetime, timedelta

import polars as pl

from ghost_pipeline.contracts import CONTRACTS
from ghost_pipeline.serving.responses import Health, PublicationHealth, TableHealth
from ghost_pipeline.windows import FIRST_INSTANT


def stale_from(as_of: datetime | None, table: str) -> datetime:
    """The instant after which a table is older than its schedule promises; an empty table always is."""
    return FIRST_INSTANT if as_of is None else CONTRACTS[table].late_after(as_of)


def health(table_info: pl.DataFrame, publication: PublicationHealth, now: datetime) -> Health:
    """The freshness of every published table, and whether the publication is whole.

    Args:
        table_info: the rows of the table `table_info`.
        publication: the publication that they are of.
        now: the current time, aware.

    """
    tables = [
        TableHealth(
            table=table,
            as_of=as_of,
            max_age_hours=CONTRACTS[table].max_age // timedelta(hours=1),
            # The tables of a domain that the source lacks stay empty.
            stale=as_of is not None and now > stale_from(as_of, table),
        )
        for table, as_of in table_info.select("table", "as_of").sort("table").iter_rows()
    ]
    if not any(one.as_of for one in tables):
        status = "unpublished"
    elif publication.kept or publication.differing_parts or any(one.stale for one in tables):
        status = "stale"
    else:
        status = "ok"
    return Health(status=status, publication=publication, tables=tables)
