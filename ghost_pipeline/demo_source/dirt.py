"""Rows that break a rule, so that validation has something to reject."""

from datetime import timedelta

import polars as pl

from ghost_pipeline.demo_source.arrays import numbered
from ghost_pipeline.demo_source.clock import INSTANT, MINUTE, Clock
from ghost_pipeline.demo_source.landmarks import DIRT

_UNKNOWN_TASKS = ("pronunciation", "essay_review", "speaking_drill", "warm_up", "listening_v2")
_UNKNOWN_LEARNER = "learner-99999"
UNKNOWN_KEYBOARD = "keyboard-9999-1"


def dirty_progress(rows: pl.DataFrame, clock: Clock, ordinary: pl.Series) -> pl.DataFrame:
    """Return rows that break a rule, made after the newest real ones of members, in the hour before `as_of`."""
    as_of = pl.lit(clock.as_of).cast(INSTANT)
    last = pl.lit(clock.as_of - 1).cast(INSTANT)
    unknown, negative, stray, repeated = (DIRT[kind] for kind in tuple(DIRT)[:4])
    models = rows.filter(pl.col("completed_at") < as_of, pl.col("user_id").is_in(ordinary.implode())).reverse()
    broken = pl.concat(
        [
            models[:unknown].with_columns(task_type=pl.Series(_UNKNOWN_TASKS)),
            models[unknown:][:negative].with_columns(time_spent_minutes=pl.lit(-15.0)),
            models[unknown + negative :][:stray].with_columns(user_id=pl.lit(_UNKNOWN_LEARNER)),
        ],
    ).with_row_index("number", offset=1)
    numbers = broken["number"].cast(pl.Int64).to_numpy()
    broken = broken.drop("number").with_columns(
        progress_id=numbered("progress", rows.height + numbers, 7),
        completed_at=pl.Series(clock.as_of - 4 * MINUTE * numbers).cast(INSTANT),
    )
    again = models[unknown + negative + stray :][:repeated].with_columns(
        completed_at=pl.min_horizontal(pl.col("completed_at") + timedelta(seconds=90), last),
    )
    return pl.concat([broken, again])
