"""All measurements of a lake, in parts of typists that fit in memory.

The hours are read once. Each measurement goes to a temporary file of its pair's part, and then one part after the other
is read. The pairs of a part follow those of the part before, so what is computed part by part is in order.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import IO

import polars as pl
import pyarrow as pa  # type: ignore[import-untyped]

from ghost_pipeline.contracts.raw import SESSION_NGRAM_SPEED
from ghost_pipeline.domain.ngrams.ngram_speed_refresh import PAIR, SESSION_MEASUREMENTS_SCHEMA, in_sessions
from ghost_pipeline.errors import LakeError
from ghost_pipeline.incremental.hashed_sessions import READ_BYTES, HashedSessions
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Hour

MB = 1_000_000
BYTES_OF_A_MEASUREMENT, BYTES_OF_A_SESSION = 200, 1_000
"""Memory that the summaries take for each, measured."""
MOST_PARTS = 400
"""Each part is an open file, and many systems allow 1,024 of them."""

_PART = "_part"


def measurement_parts(lake: Lake, sessions: HashedSessions, memory_mb: int) -> Iterator[pl.DataFrame]:
    """Read the measurements of all sessions, in parts of whole pairs.

    Args:
        lake: the lake of the sessions.
        sessions: its sessions.
        memory_mb: the memory that summarising a part may take. A single pair may take more.

    Yields:
        The columns of `SESSION_MEASUREMENTS_SCHEMA`; pairs ascending from part to part, in no order within one.

    Raises:
        LakeError: the temporary folder is full, or cannot be written.

    """
    parts = _cut(sessions.totals, memory_mb * MB)
    number = int(parts[_PART].max() or 0) + 1  # type: ignore[arg-type]
    if number == 1:
        yield pl.concat([SESSION_MEASUREMENTS_SCHEMA.to_frame(), *_measured(lake, sessions)])
        return
    schema = SESSION_MEASUREMENTS_SCHEMA.to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    with ExitStack() as opened:
        try:
            files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(number)]
            _spill(_measured(lake, sessions), parts, files, schema)
        except OSError as error:
            raise LakeError(
                f"{tempfile.gettempdir()}: {SESSION_NGRAM_SPEED.name} cannot be kept there by typist "
                f"({error.strerror or error}). Free some space, or set TMPDIR to a folder on another disk"
            ) from error
        for file in files:
            with file:
                file.seek(0)
                yield pl.DataFrame(pl.from_arrow(pa.ipc.open_stream(file).read_all()))


def _cut(totals: pl.DataFrame, part_bytes: int) -> pl.DataFrame:
    """Give each pair the number of its part."""
    taken = pl.col("measurements") * BYTES_OF_A_MEASUREMENT + pl.col("sessions") * BYTES_OF_A_SESSION
    before = taken.cum_sum() - taken
    size = max(part_bytes, -(-int(totals.select(taken.sum()).item()) // MOST_PARTS))
    return totals.select(*PAIR, (before // size).rle_id().cast(pl.Int32).alias(_PART))


def _measured(lake: Lake, sessions: HashedSessions) -> Iterator[pl.DataFrame]:
    for of_days in sessions.by_days():
        hour = of_days["start_time"].dt.truncate("1h")
        for part in lake.in_parts(SESSION_NGRAM_SPEED, map(Hour.containing, hour.unique()), READ_BYTES):
            some = of_days.filter(hour.is_in([one.start for one in part]))
            yield in_sessions(lake.scan(SESSION_NGRAM_SPEED, part), some)


def _spill(found: Iterator[pl.DataFrame], parts: pl.DataFrame, files: Sequence[IO[bytes]], schema: pa.Schema) -> None:
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with ExitStack() as opened:
        writers = [opened.enter_context(pa.ipc.new_stream(file, schema, options=options)) for file in files]
        for rows in found:
            placed = rows.join(parts, on=PAIR, how="inner")
            for (part,), some in placed.partition_by(_PART, include_key=False, as_dict=True).items():
                table = some.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
                for batch in table.to_batches():
                    writers[part].write_batch(batch)
