"""Selection of the (user, keyboard) pairs that an hour has to summarise again, and of their inputs (N3.3).

The summaries of a pair follow from its sessions, what was measured in them, the keyboard's target and the settings. A
hash of these is kept with the summaries: if it has not changed, neither have they, whatever happened in between.

Of a session that has left the window, little is still needed: for each n-gram only its first session ever
(`created_at`) and its newest session outside the window (`last_updated`). Added sessions do not change that, so the
rows kept for a pair stay few, however long its history.

The hashes are 64 bits of polars' own hash: another release of polars may compute different ones, and then every pair
counts as changed.
"""

from datetime import datetime

import polars as pl

from ghost_pipeline.domain.ngrams.ngram_speed_summaries import SummaryLimits

PAIR = ("user_id", "keyboard_id")

_INSTANT = pl.Datetime("us", "UTC")

HASHED_SESSION_SCHEMA = pl.Schema(
    {
        "session_id": pl.String(),
        "user_id": pl.String(),
        "keyboard_id": pl.String(),
        "start_time": _INSTANT,
        "content_hash": pl.UInt64(),
    },
)
"""The columns of `hashed_sessions`."""

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


def hashed_sessions(practice_sessions: pl.LazyFrame, session_ngram_speed: pl.LazyFrame) -> pl.LazyFrame:
    """Give every session a hash of what was measured in it, whatever the order of the rows.

    Args:
        practice_sessions: `session_id`, `user_id`, `keyboard_id`, `start_time`.
        session_ngram_speed: all rows of these sessions: `session_id`, `ngram_text`, `ngram_size`, `ms_per_keystroke`.

    Returns:
        The columns of `HASHED_SESSION_SCHEMA`, one row per session.
    """
    hashes = session_ngram_speed.group_by("session_id").agg(
        content_hash=pl.struct(pl.struct(MEASUREMENT).hash().sum().alias("rows"), pl.len().alias("count")).hash(),
    )
    return (
        practice_sessions.join(hashes, on="session_id", how="left")
        .with_columns(pl.col("content_hash").fill_null(0))
        .select(HASHED_SESSION_SCHEMA.names())
    )


def pair_inputs(sessions: pl.LazyFrame, keyboards: pl.LazyFrame, limits: SummaryLimits) -> pl.LazyFrame:
    """Give every pair a hash of all inputs of its summaries.

    Args:
        sessions: the hashed sessions that exist.
        keyboards: as in `ngram_speed_summaries`.
        limits: its settings.

    Returns:
        The columns of `PAIR_INPUT_SCHEMA`, one row per pair.
    """
    targets = keyboards.select("keyboard_id", "target_ms_per_keystroke", "target_valid_from")
    return (
        sessions.select(*PAIR, session=pl.struct("session_id", "start_time", "content_hash").hash())
        .group_by(PAIR)
        .agg(pl.col("session").sum(), sessions=pl.len())
        .join(targets, on="keyboard_id", how="left")
        .with_columns(pl.lit(value, pl.Float64).alias(name) for name, value in limits.items())
        .select(*PAIR, inputs=pl.struct(pl.exclude(PAIR)).hash())
    )


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
