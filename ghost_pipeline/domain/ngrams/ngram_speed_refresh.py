"""Selection of the (user, keyboard) pairs that an hour has to summarise again, and of their inputs (N3.3).

The summaries of a pair follow from its sessions, what was measured in them, the keyboard's target and the settings. A
hash of these is kept with the summaries: if it has not changed, neither have they, whatever happened in between.

Of a session that has left the window, little is still needed: for each n-gram only its first session ever
(`created_at`) and its newest session outside the window (`last_updated`). Added sessions do not change that, so the
rows kept for a pair stay few, however long its history.

The hashes have 64 bits and are the same in every release of every library (`stable_hash`). Those of a pair's sessions
add up, so that the sum follows from that of an earlier hour and the sessions that came, changed or went.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from ghost_pipeline.domain.ngrams.ngram_speed_summaries import SummaryLimits
from ghost_pipeline.stable_hash import row_hashes

PAIR = ("user_id", "keyboard_id")

_INSTANT = pl.Datetime("us", "UTC")

HASHED_SESSION_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "user_id": pl.String(),
        "keyboard_id": pl.String(),
        "start_time": _INSTANT,
        "content_hash": pl.UInt64(),
        "measurements": pl.Int64(),
    },
)
"""The columns of `hashed_sessions`: a hash of a session's measurements, and their number."""

PAIR_TOTAL_SCHEMA = pl.Schema(
    {
        "user_id": pl.String(),
        "keyboard_id": pl.String(),
        "sessions_hash": pl.UInt64(),
        "sessions": pl.Int64(),
        "measurements": pl.Int64(),
    }
)
"""The columns of `pair_totals`."""

PAIR_INPUT_SCHEMA = pl.Schema({"user_id": pl.String(), "keyboard_id": pl.String(), "inputs": pl.UInt64()})
"""The columns of `pair_inputs`."""

SESSION_MEASUREMENTS_SCHEMA = pl.Schema(
    {
        **HASHED_SESSION_SCHEMA,
        "ngram_text": pl.List(pl.String()),
        "ngram_size": pl.List(pl.Int32()),
        "ms_per_keystroke": pl.List(pl.Float64()),
        "is_whole": pl.Boolean(),
    },
)
"""The columns of `in_sessions` and `still_counting`: a row per session, with all of its measurements or with some."""

MEASUREMENT = ["ngram_text", "ngram_size", "ms_per_keystroke"]


def hashed_sessions(practice_sessions: pl.LazyFrame, session_ngram_speed: pl.LazyFrame) -> pl.DataFrame:
    """Give every session a hash of what was measured in it, whatever the order of the rows.

    Args:
        practice_sessions: `session_id`, `user_id`, `keyboard_id`, `start_time`.
        session_ngram_speed: all rows of these sessions: `session_id`, `ngram_text`, `ngram_size`, `ms_per_keystroke`.

    Returns:
        The columns of `HASHED_SESSION_SCHEMA`, one row per session.
    """
    rows = session_ngram_speed.select("session_id", *MEASUREMENT).collect()
    totals = (
        rows.select("session_id", row_hashes(rows.select(MEASUREMENT)).alias("rows"))
        .group_by("session_id")
        .agg(pl.col("rows").sum(), measurements=pl.len().cast(pl.Int64))
    )
    hashes = totals.with_columns(row_hashes(totals.select("rows", "measurements")).alias("content_hash"))
    return (
        practice_sessions.join(hashes.lazy(), on="session_id", how="left")
        .with_columns(pl.col("content_hash", "measurements").fill_null(0))
        .select(HASHED_SESSION_SCHEMA.names())
        .collect()
    )


def pair_totals(sessions: pl.DataFrame) -> pl.DataFrame:
    """Sum up the hashed sessions of each pair; the hash of a pair is the sum of those of its sessions.

    Args:
        sessions: the columns of `HASHED_SESSION_SCHEMA`.

    Returns:
        The columns of `PAIR_TOTAL_SCHEMA`, one row per pair, in no order.
    """
    hashes = row_hashes(sessions.select("session_id", "start_time", "content_hash"))
    return (
        sessions.select(*PAIR, hashes.alias("sessions_hash"), "measurements")
        .group_by(PAIR)
        .agg(pl.col("sessions_hash").sum(), pl.len().cast(pl.Int64).alias("sessions"), pl.col("measurements").sum())
    )


def sum_of_totals(totals: Sequence[pl.DataFrame], without: Sequence[pl.DataFrame] = ()) -> pl.DataFrame:
    """Add totals of different sessions, and take away others; a pair without a session left has no row."""
    less = (one.with_columns(_negated(one[name]) for name in PAIR_TOTAL_SCHEMA.names()[len(PAIR) :]) for one in without)
    return (
        pl.concat([PAIR_TOTAL_SCHEMA.to_frame(), *totals, *less])
        .group_by(PAIR)
        .agg(pl.col("sessions_hash", "sessions", "measurements").sum())
        .filter(pl.col("sessions") != 0)
        .sort(PAIR)
    )


def _negated(column: pl.Series) -> pl.Series:
    # Modulo 2^64, as the sums of hashes are.
    return pl.Series(column.name, np.negative(column.to_numpy()))


def pair_inputs(totals: pl.DataFrame, keyboards: pl.LazyFrame, limits: SummaryLimits) -> pl.DataFrame:
    """Give every pair a hash of all inputs of its summaries.

    Args:
        totals: the `pair_totals` of all sessions that exist.
        keyboards: as in `ngram_speed_summaries`.
        limits: its settings.

    Returns:
        The columns of `PAIR_INPUT_SCHEMA`, one row per pair, in the order of `totals`.
    """
    targets = keyboards.select("keyboard_id", "target_ms_per_keystroke", "target_valid_from").collect()
    inputs = totals.join(targets, on="keyboard_id", how="left", maintain_order="left").select(
        "sessions_hash",
        "sessions",
        "target_ms_per_keystroke",
        "target_valid_from",
        *(pl.lit(value, pl.Float64).alias(name) for name, value in limits.items()),
    )
    return totals.select(*PAIR, row_hashes(inputs).alias("inputs"))


def aged(sessions: pl.LazyFrame) -> pl.LazyFrame:
    """Add to hashed sessions their `age` (Int64): how many sessions of the pair are newer (N3.1)."""
    return sessions.sort(*PAIR, "start_time", "session_id", descending=[False, False, True, True]).with_columns(
        age=pl.int_range(pl.len()).over(PAIR)
    )


def in_sessions(session_ngram_speed: pl.LazyFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Gather the measurements of each of some hashed sessions.

    Args:
        session_ngram_speed: rows of these sessions and of others.
        sessions: the columns of `HASHED_SESSION_SCHEMA` and any others.

    Returns:
        The columns of `SESSION_MEASUREMENTS_SCHEMA`, one row per session.
    """
    measured = (
        session_ngram_speed.select("session_id", *MEASUREMENT)
        .join(sessions.lazy().select("session_id"), on="session_id", how="semi")
        .group_by("session_id")
        .agg(MEASUREMENT)
    )
    return _with_measurements(sessions, measured.collect()).with_columns(is_whole=pl.lit(value=True))


def usable(kept: pl.DataFrame, sessions: pl.DataFrame, max_sessions: int) -> pl.DataFrame:
    """Keep the cached rows of some pairs that still represent the measurements of their sessions.

    No row of a pair is usable if a session with thinned-out measurements has changed, or is in the window again
    because newer sessions are gone: its discarded measurements cannot be recovered.

    Args:
        kept: rows of `still_counting`, of another time.
        sessions: the sessions of these pairs, all that exist, from `aged`.
        max_sessions: the newest sessions that a summary covers.

    Returns:
        Rows of `kept`. The other sessions have to be read.
    """
    session = HASHED_SESSION_SCHEMA.names()
    stands = kept.select(*session, "is_whole").with_row_index("_row").join(sessions, on=session, how="left")
    thinned = stands.remove("is_whole")
    lost = thinned.filter(pl.col("age").is_null() | (pl.col("age") < max_sessions))
    good = stands.filter(pl.col("age").is_not_null()).join(lost, on=PAIR, how="anti")
    # Usually all of them are good, and copying the measurements would take longer than all other steps.
    return kept if good.height == kept.height else kept[good["_row"].sort()]


def still_counting(measurements: pl.DataFrame, sessions: pl.DataFrame, max_sessions: int) -> pl.DataFrame:
    """Thin out the measurements of some pairs to those that their summaries depend on, now and later.

    Args:
        measurements: the columns of `SESSION_MEASUREMENTS_SCHEMA`, a row for each of the sessions.
        sessions: the sessions of these pairs, all that exist, from `aged`.
        max_sessions: the newest sessions that a summary covers.

    Returns:
        The same rows: those of sessions in the window whole, of an n-gram outside of it one measurement in its first
        and one in its last session.
    """
    measurements = measurements.join(sessions.select("session_id", "age"), on="session_id", how="left")
    inside, outside = (
        measurements.filter(pl.col("age") < max_sessions),
        measurements.filter(pl.col("age") >= max_sessions),
    )
    ngram = [*PAIR, "ngram_text", "ngram_size"]
    age = pl.col("age")
    ends = (
        outside.explode(MEASUREMENT)
        .unique(["session_id", *ngram])
        .filter((age == age.min().over(ngram)) | (age == age.max().over(ngram)))
        .group_by("session_id")
        .agg(MEASUREMENT)
    )
    thinned = _with_measurements(outside, ends).with_columns(is_whole=pl.lit(value=False))
    return pl.concat([inside.select(SESSION_MEASUREMENTS_SCHEMA.names()), thinned])


def measured(measurements: pl.DataFrame) -> pl.DataFrame:
    """Lay out kept measurements one per row, as `session_ngram_speed` has them."""
    return measurements.select("session_id", *MEASUREMENT).explode(MEASUREMENT)


def _with_measurements(sessions: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    return (
        sessions.select(HASHED_SESSION_SCHEMA.names())
        .join(measured, on="session_id", how="left")
        .with_columns(pl.col(MEASUREMENT).fill_null([]))
    )


def with_carried(summaries: pl.DataFrame, before: pl.DataFrame, same: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    """Assemble the summaries of an hour from computed ones and ones carried over from another hour.

    Args:
        summaries: of some pairs, from `ngram_speed_summaries` at `as_of`.
        before: all summaries of another hour.
        same: the pairs (`user_id`, `keyboard_id`) whose summaries of that hour are carried over; none of the former.
        as_of: the end of the hour, aware.

    Returns:
        All in the order of `ngram_speed_summaries`, as of the same hour.
    """
    together = pl.concat([before.with_columns(as_of=pl.lit(as_of, _INSTANT)), summaries])
    # The rows of a pair are adjacent and ordered, and most neighbours stay neighbours: moving whole stretches takes a
    # tenth of the time of a join and a sort.
    carried = _stretches(before).join(same, on=PAIR, how="semi")
    computed = _stretches(summaries).with_columns(pl.col("start") + before.height)
    follows = pl.col("start") == (pl.col("start") + pl.col("rows")).shift()
    runs = (
        pl.concat([carried, computed])
        .sort(PAIR)
        .group_by((~follows.fill_null(value=False)).cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("start").first(), pl.col("rows").sum())
    )
    return pl.concat([together.clear(), *(together.slice(start, rows) for _, start, rows in runs.iter_rows())])


def carried_over(
    summaries: pl.DataFrame, before: Iterable[pl.DataFrame], same: pl.DataFrame, as_of: datetime
) -> Iterator[pl.DataFrame]:
    """Assemble the summaries of an hour as `with_carried` does, without holding those of the other hour.

    Args:
        summaries: as there.
        before: all summaries of another hour, in frames that follow one another.
        same: as there.
        as_of: as there.

    Yields:
        The frames of `before`, each with the computed rows that belong between its own; then the computed rows that
        are left.
    """
    for rows in before:
        if rows.is_empty():
            continue
        # The last pair may go on in the next frame.
        user_id, keyboard_id = rows.select(PAIR).row(-1)
        user, keyboard = (pl.col(name) for name in PAIR)
        comes_before = (user < user_id) | ((user == user_id) & (keyboard < keyboard_id))
        here = int(summaries.select(comes_before.sum()).item())
        yield with_carried(summaries.head(here), rows, same, as_of)
        summaries = summaries.slice(here)
    yield summaries


def _stretches(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs of ordered rows: PAIR, `start` (position of the first row) and `rows` (their number)."""
    first = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in PAIR)
    return (
        rows.lazy()
        .select(*PAIR, first=first, start=pl.int_range(pl.len()))
        .filter("first")
        .select(*PAIR, "start", rows=pl.col("start").shift(-1, fill_value=rows.height) - pl.col("start"))
        .collect()
    )
