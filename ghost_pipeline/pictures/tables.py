"""The pictures of tables: what is counted of a partition, and how it is drawn.

Add a picture of a table: one `TablePicture` in `PICTURES`. Dagster shows it with the newest partition of a run. It
counts groups, and reads no column that names a person.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import get_args

import polars as pl

from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, GHOST_MESSAGES, USER_RELEASED_RANKS
from ghost_pipeline.contracts.messages import Position
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.rank_metrics import MAX_RANK, RANK_BASES, RANK_METRICS
from ghost_pipeline.contracts.raw import MS_PER_MINUTE
from ghost_pipeline.domain.ngrams.ngram_queries import KEYS_PER_WORD
from ghost_pipeline.pictures.charts import Count, bars, bars_beside

RANK_STEP = 10
WPM_STEP, WPM_STEPS = 15, 11
"""The last step is open: 150 words per minute and more."""
AGES = ((1, "this hour"), (6, "1 to 5 h old"), (24, "6 to 23 h old"), (None, "24 h and older"))
"""Ages of releases, each below the given number of hours; a release stays for `GHOST_RELEASE_STAY_HOURS`."""
POSITIONS: tuple[Position, ...] = get_args(Position)[::-1]


@dataclass(frozen=True)
class TablePicture:
    """A picture of the rows of a partition."""

    name: str
    """Beside its metadata in Dagster."""
    count: Callable[[pl.LazyFrame], pl.LazyFrame]
    """From the rows to the few that are drawn."""
    draw: Callable[[pl.DataFrame], pl.DataFrame]
    """From these to what is shown."""


def counted(counts: Mapping[str, int]) -> pl.DataFrame:
    """Draw what a check counts, the most frequent first."""
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    return bars("counted", "number", [Count(label, number) for label, number in ordered if number])


def count_releases(release: pl.LazyFrame) -> pl.LazyFrame:
    """Count the cohorts of `cohort_ghost_release` by the age of the release in hours, or the reason for none."""
    age = (pl.col("as_of") - pl.col("released_as_of")).dt.total_hours()
    reason = pl.when(~pl.col("released")).then("suppressed_reason").alias("reason")
    return release.group_by(age.alias("age"), reason).agg(cohorts=pl.len())


def draw_releases(counts: pl.DataFrame) -> pl.DataFrame:
    """Draw released cohorts by the age of what is shown, and suppressed ones by reason."""
    shown, withheld = (counts.filter(pl.col("reason").is_null() == released) for released in (True, False))
    drawn, since = [], 0
    for below, label in AGES:
        inside = pl.col("age").is_between(since, below, closed="left") if below else pl.col("age") >= since
        drawn.append(Count(f"released {label}", int(shown.filter(inside)["cohorts"].sum())))
        since = below or since
    reasons = withheld.group_by("reason").agg(pl.col("cohorts").sum()).sort("reason")
    drawn += [Count(f"suppressed, {reason.replace('_', ' ')}", number) for reason, number in reasons.iter_rows()]
    return bars("figures", "cohorts", drawn)


def count_ranks(ranks: pl.LazyFrame, base: str) -> pl.LazyFrame:
    """Count the users of `user_released_ranks` by each rank in a base, in steps of ten: `name`, `step`, `users`."""
    of_base = [pl.col(metric.column_name(base)).alias(name) for name, metric in RANK_METRICS.items()]
    long = ranks.select(of_base).unpivot(variable_name="name", value_name="rank").drop_nulls()
    return long.group_by("name", step=pl.col("rank") // RANK_STEP).agg(users=pl.len())


def draw_ranks(counts: pl.DataFrame) -> pl.DataFrame:
    """Draw the distribution of each rank that people are shown."""
    steps = range(MAX_RANK // RANK_STEP + 1)
    columns = []
    for name in RANK_METRICS:
        found = _by_step(counts.filter(pl.col("name") == name), "users")
        columns.append((name.replace("_", " "), [found.get(step, 0) for step in steps]))
    labels = [f"{step * RANK_STEP} to {step * RANK_STEP + RANK_STEP - 1}" for step in steps]
    return bars_beside("users by percentile rank", labels, columns)


def count_speeds(summaries: pl.LazyFrame) -> pl.LazyFrame:
    """Count the summaries of `ngram_speed_summaries` by words per minute: `step`, `summaries`."""
    wpm = MS_PER_MINUTE / pl.col("decaying_average_ms") / KEYS_PER_WORD
    step = (wpm / WPM_STEP).floor().clip(0, WPM_STEPS - 1).cast(pl.Int32)
    return summaries.group_by(step=step).agg(summaries=pl.len())


def draw_speeds(counts: pl.DataFrame) -> pl.DataFrame:
    """Draw the speeds of typists on their n-grams."""
    found = _by_step(counts, "summaries")
    labels = [f"{step * WPM_STEP} to {(step + 1) * WPM_STEP}" for step in range(WPM_STEPS - 1)]
    labels.append(f"{(WPM_STEPS - 1) * WPM_STEP} and more")
    drawn = [Count(label, found.get(step, 0)) for step, label in enumerate(labels)]
    return bars("words per minute", "summaries", drawn)


def count_positions(messages: pl.LazyFrame) -> pl.LazyFrame:
    """Count the messages of `ghost_messages` that state a position: `type`, `position`, `messages`."""
    stating = messages.filter(pl.col("position").is_not_null())
    return stating.group_by("type", pl.col("position").cast(pl.String)).agg(messages=pl.len())


def draw_positions(counts: pl.DataFrame) -> pl.DataFrame:
    """Draw how many percent of the messages of a type say behind, close and ahead."""
    found = {(kind, position): number for kind, position, number in counts.iter_rows()}
    kinds = sorted({kind for kind, _ in found})
    totals = {kind: sum(found.get((kind, position), 0) for position in POSITIONS) for kind in kinds}
    columns = [
        (position, [round(100 * found.get((kind, position), 0) / totals[kind]) for kind in kinds])
        for position in POSITIONS
    ]
    return bars_beside("percent of a type", [kind.replace("_", " ") for kind in kinds], columns, 100)


def _by_step(counts: pl.DataFrame, column: str) -> dict[int, int]:
    return dict(counts.select("step", column).iter_rows())


PICTURES: Mapping[str, tuple[TablePicture, ...]] = {
    COHORT_GHOST_RELEASE.name: (TablePicture("released_and_suppressed", count_releases, draw_releases),),
    USER_RELEASED_RANKS.name: tuple(
        TablePicture(f"{base}_ranks", partial(count_ranks, base=base), draw_ranks) for base in RANK_BASES
    ),
    GHOST_MESSAGES.name: (TablePicture("behind_close_ahead", count_positions, draw_positions),),
    NGRAM_SPEED_SUMMARIES.name: (TablePicture("distribution_of_speeds", count_speeds, draw_speeds),),
}
"""By table."""
