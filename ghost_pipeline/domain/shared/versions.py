"""Versions of users, cohorts and keyboards: only changes are kept, and an hour sees what was true then (G1.7)."""

from datetime import datetime

import polars as pl

VALID_FROM = "valid_from"
SEEN_AT = "seen_at"
UPDATED_AT = "updated_at"
_NUMBERING = (VALID_FROM, SEEN_AT)
_NEXT = pl.duration(microseconds=1)


def changed_rows(
    current: pl.LazyFrame, known: pl.LazyFrame, key: str, seen_at: datetime, *, newest: bool
) -> pl.LazyFrame:
    """The versions that an hourly run adds: rows of the source that differ from the newest known version.

    Args:
        current: good rows of the source as they are now, one per `key`, columns of the contract without
            `valid_from` and `seen_at`.
        known: every version so far, with both columns.
        key: the id column.
        seen_at: `as_of` of the run.
        newest: whether no later hour has looked at the source before. A run of an older hour sees the source
            of today: a change whose time nobody knows is left to the next run of a newer hour, which may
            date it by its own `as_of`; dated by the older one it would take effect in the past.

    Returns:
        The columns of `known`, one row per changed `key`, sorted by it. `valid_from` is the source's
        `updated_at` where that is later than the version before, else `seen_at`, but later than a version that the
        source has dated into the future: that one would else stay the newest and the row seem changed every hour.

    """
    values = [name for name in current.collect_schema().names() if name != key]
    latest = known.sort(*_NUMBERING).group_by(key).last()
    joined = current.join(latest, on=key, how="left", suffix="_known", maintain_order="left")
    is_new = pl.col(VALID_FROM).is_null()
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_known")) for name in values)
    told = pl.col(UPDATED_AT) if UPDATED_AT in values else pl.lit(None, pl.Datetime("us", "UTC"))
    seen = pl.lit(seen_at, pl.Datetime("us", "UTC"))
    dated = told.is_not_null() & (is_new | (told > pl.col(VALID_FROM)))
    return (
        joined.filter(differs | is_new, is_new | dated | pl.lit(newest))
        .with_columns(
            pl.when(dated)
            .then(told)
            .when(pl.col(VALID_FROM) > seen)
            .then(pl.col(VALID_FROM) + _NEXT)
            .otherwise(seen)
            .alias(VALID_FROM),
            seen.alias(SEEN_AT),
        )
        .select(key, *values, VALID_FROM, SEEN_AT)
        .sort(key)
    )


def with_added(partition: pl.LazyFrame, added: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """A partition of versions with further ones; a second look within the hour replaces the first."""
    return (
        pl.concat([partition.with_columns(_second=pl.lit(0)), added.with_columns(_second=pl.lit(1))])
        .sort(key, VALID_FROM, "_second")
        .unique([key, VALID_FROM], keep="last", maintain_order=True)
        .drop("_second")
    )


def valid_at(versions: pl.LazyFrame, key: str, as_of: datetime) -> pl.LazyFrame:
    """One row per `key`: the newest version with `valid_from` <= as_of, else the first one (G1.7); sorted by it."""
    counts = pl.col(VALID_FROM) <= pl.lit(as_of, pl.Datetime("us", "UTC"))
    is_first = pl.col(key).ne_missing(pl.col(key).shift(1))
    replaced = pl.col(key).eq_missing(pl.col(key).shift(-1)) & counts.shift(-1, fill_value=False)
    return versions.sort(key, *_NUMBERING).filter((counts & ~replaced) | (~counts & is_first))


def constant_and_changing(
    versions: pl.DataFrame, key: str, first: datetime, last: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What is valid from `first` to `last`, one row per `key` and sorted by it, and all versions of the other keys.

    Most things have a single version, or none that begins in between: those need to be looked at once.
    """
    ids = versions[key]
    if not ids.is_sorted():
        versions = versions.sort(key)
        ids = versions[key]
    repeated = ((ids == ids.shift(1)) | (ids == ids.shift(-1))).fill_null(value=False)
    several = versions.filter(repeated)
    if not several.height:
        return versions, several
    change = (pl.col(VALID_FROM) > first) & (pl.col(VALID_FROM) <= last)
    changing = several.join(several.filter(change), on=key, how="semi")
    others = several.join(changing, on=key, how="anti")
    constant = valid_at(others.lazy(), key, first).collect()
    return versions.filter(~repeated).merge_sorted(constant, key), changing


def carried_since(versions: pl.LazyFrame, key: str, column: str, as_of: datetime) -> pl.LazyFrame:
    """Since when the value of `column` that is valid at `as_of` has been carried without a break.

    Returns:
        One row per `key`: `key` and `carried_since` (Datetime UTC; null where the first version carries it,
        which counts since ever).

    """
    moment = pl.lit(as_of, pl.Datetime("us", "UTC"))
    changed = pl.col(column).ne_missing(pl.col(column).shift(1).over(key)) & (pl.int_range(pl.len()).over(key) > 0)
    return (
        versions.sort(key, *_NUMBERING)
        .with_columns(_changed=changed)
        .group_by(key, maintain_order=True)
        .agg(carried_since=pl.col(VALID_FROM).filter(pl.col("_changed") & (pl.col(VALID_FROM) <= moment)).last())
    )


def users_at(versions: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The users as they were at `as_of`.

    Returns:
        One row per user: the columns of `users` and `score_known_at` (Datetime UTC: since when the final
        score has been carried, null = since ever; G5.1).

    """
    users = _with_since(versions, "user_id", "final_band_score", "score_known_at", as_of)
    # A first version that the source dates carries its score from that date on; one dated by the run that happened to
    # see it first has carried it since ever.
    first = versions.group_by("user_id").agg(
        _dated=pl.col(VALID_FROM).sort_by(*_NUMBERING).first(),
        _told=pl.col(UPDATED_AT).sort_by(*_NUMBERING).first(),
    )
    dated = pl.when(pl.col("_told") == pl.col("_dated")).then("_dated")
    return (
        users.join(first, on="user_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("score_known_at", dated).alias("score_known_at"))
        .drop("_dated", "_told")
    )


def keyboards_at(versions: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """The keyboards as they were at `as_of`.

    Returns:
        One row per keyboard: the columns of `keyboards` and `target_valid_from` (Datetime UTC: since when
        the target has counted, null = since ever; N3.3).

    """
    return _with_since(versions, "keyboard_id", "target_ms_per_keystroke", "target_valid_from", as_of)


def _with_since(versions: pl.LazyFrame, key: str, column: str, name: str, as_of: datetime) -> pl.LazyFrame:
    since = carried_since(versions, key, column, as_of).rename({"carried_since": name})
    return valid_at(versions, key, as_of).join(since, on=key, how="left", maintain_order="left")
