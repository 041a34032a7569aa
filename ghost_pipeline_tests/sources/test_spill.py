from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
from polars.testing import assert_frame_equal

from ghost_pipeline.sources import spill
from ghost_pipeline.sources.spill import spilled

ROWS = pl.DataFrame(
    {
        "id": [f"id-{number}" for number in range(40)],
        "kind": ["reading", "writing", None, "reading"] * 10,
        "at": [datetime(2025, 3, 12, tzinfo=UTC) + timedelta(minutes=number) for number in range(40)],
        "minutes": [number / 7 for number in range(40)],
    }
)


def table() -> pa.Table:
    return ROWS.to_arrow(compat_level=pl.CompatLevel.oldest())


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_rows_come_back_whatever_their_batches(rows: int) -> None:
    frame = spilled(table().schema, table().to_batches(max_chunksize=rows))
    assert_frame_equal(frame.collect(), ROWS)


def test_no_batch_gives_no_row_with_the_columns() -> None:
    assert_frame_equal(spilled(table().schema, []).collect(), ROWS.clear())


def test_only_repeated_texts_have_dictionaries_and_only_times_statistics() -> None:
    sink = pa.BufferOutputStream()
    (batch,) = table().combine_chunks().to_batches()
    with spill._writer(sink, batch.schema, batch) as writer:  # noqa: SLF001 - the file itself has no name
        writer.write_batch(batch)
    columns = pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0)
    found = [columns.column(number) for number in range(columns.num_columns)]
    assert [one.path_in_schema for one in found if one.has_dictionary_page] == ["kind"]
    assert [one.path_in_schema for one in found if one.is_stats_set] == ["at"]
