"""Versions of users, cohorts and keyboards: only changes are kept, and an hour sees what was true then (G1.7).

A version counts from its `valid_from`. The exception is the first version of a key if the source does not date it: it
is valid since ever, although it is stored with the `as_of` of the hour that saw it.
"""

from datetime import datetime

import polars as pl

VALID_FROM = "valid_from"
SEEN_AT = "seen_at"
UPDATED_AT = "updated_at"
BEGINS = "_begins"
INSTANT = pl.Datetime("us", "UTC")
_NEXT = pl.duration(microseconds=1)


def in_order(versions: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Return versions by `key` and in time, with `_begins`: the instant from which one counts, null: since ever."""
    dates = [UPDATED_AT] if UPDATED_AT in versions.collect_schema() else []
    undated_first = _is_first(key) & (pl.col(UPDATED_AT).is_null() if dates else pl.lit(value=True))
    return (
        # Nulls sort first: of versions that the first hour saw, the undated one.
        versions.sort(key, SEEN_AT, *dates, VALID_FROM)
        .with_columns(pl.when(~undated_first).then(VALID_FROM).alias(BEGINS))
        .sort(key, BEGINS, SEEN_AT)
    )


def unlike_newest(current: pl.LazyFrame, known: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Return the rows of the source that differ from the newest known version: only these can be `changed_rows`."""
    return _unlike_newest(current, known, key).select(current.collect_schema().names())


def changed_rows(
    current: pl.LazyFrame, known: pl.LazyFrame, key: str, seen_at: datetime, *, newest: bool
) -> pl.LazyFrame:
    """Return the versions that an hourly run adds: rows of the source that differ from the newest known version.

    Their `valid_from` is the source's `updated_at` if that dates the change, else `seen_at`. Four cases need care:

    - An `updated_at` before that of the newest version is put in its place in time. A row that is known already, as
      from a replica that lags behind, adds nothing.
    - An `updated_at` that an earlier version has already dates no change, and neither does one before a change that
      only a run has dated: otherwise what the source says now would never count.
    - A change that no date puts in a place of its own counts directly after a version dated into the future. Otherwise
      that version would stay the newest, and the row would look changed every hour.
    - A second look within the hour that first saw a key replaces what the first look saw. If that hour saw several
      versions, the next hour takes in a change without a date: stored with this hour, it would seem to be the first.

    Args:
        current: good rows of the source as they are now, one per `key`, columns of the contract without
            `valid_from` and `seen_at`.
        known: every version so far, with both columns.
        key: the id column.
        seen_at: `as_of` of the run.
        newest: whether no later hour has read the source before. A run of an older hour sees the source of today. It
            leaves undated changes to the next run of a newer hour, and all changes of a key whose undated first
            version a later hour saw: dated by the older hour they would take effect in the past.

    Returns:
        The columns of `known`, one row per changed `key`, sorted by it.

    """
    values = [name for name in current.collect_schema().names() if name != key]
    seen = pl.lit(seen_at, INSTANT)
    is_new = pl.col(VALID_FROM).is_null()
    told = pl.col(UPDATED_AT) if UPDATED_AT in values else pl.lit(None, INSTANT)
    changed = _with_history(_unlike_newest(current, known, key).with_columns(_told=told), known, key, values)

    is_later = pl.col("_told").is_not_null() & (pl.col(BEGINS).is_null() | (pl.col("_told") > pl.col(BEGINS)))
    # At its own instant another hour's version counts already.
    reaches = (pl.col(VALID_FROM) > seen) | ((pl.col(VALID_FROM) == seen) & (pl.col(SEEN_AT) < seen))
    is_earlier = (pl.col("_told") < pl.col(BEGINS)) & pl.col("_dated")
    in_place = (is_earlier & ~pl.col("_taken")).fill_null(value=False)
    has_place = is_later | in_place
    after_future = pl.lit(newest) & reaches & ~has_place
    again = pl.col("_first_seen") == seen
    replaces = again & pl.col("_is_only") & pl.col("_told").is_null()
    seems_first = again & ~pl.col("_is_only") & (pl.col("_undated_first") | pl.col("_told").is_null())
    of_newer_hour = pl.col("_undated_first") & (pl.col("_first_seen") > seen)
    left = (seems_first & ~has_place) | (pl.lit(not newest) & (of_newer_hour | ~has_place))
    return (
        changed.filter(is_new | ~(left | (is_earlier & pl.col("_repeated"))).fill_null(value=False))
        .with_columns(
            pl.when(is_later & pl.col("_taken"))
            .then(pl.col("_told") + _NEXT)
            .when(has_place)
            .then("_told")
            .when(replaces)
            .then(VALID_FROM)
            .when(after_future)
            .then(pl.col(VALID_FROM) + _NEXT)
            .otherwise(seen)
            .alias(VALID_FROM),
            seen.alias(SEEN_AT),
        )
        .select(key, *values, VALID_FROM, SEEN_AT)
        .sort(key)
    )


def _latest(known: pl.LazyFrame, key: str, *, has_dates: bool) -> pl.LazyFrame:
    """Return the newest version of each key, and what is to know of the first one."""
    return (
        in_order(known, key)
        .group_by(key, maintain_order=True)
        .agg(
            pl.all().last(),
            _undated_first=pl.col(BEGINS).first().is_null(),
            _first_seen=pl.col(SEEN_AT).min(),
            _is_only=pl.len() == 1,
        )
        # Dated by the source, not by a run.
        .with_columns(_dated=pl.col(UPDATED_AT) == pl.col(VALID_FROM) if has_dates else pl.lit(value=False))
    )


def _unlike_newest(current: pl.LazyFrame, known: pl.LazyFrame, key: str) -> pl.LazyFrame:
    values = [name for name in current.collect_schema().names() if name != key]
    latest = _latest(known, key, has_dates=UPDATED_AT in values)
    joined = current.join(latest, on=key, how="left", suffix="_known", maintain_order="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_known")) for name in values)
    return joined.filter(pl.col(VALID_FROM).is_null() | differs)


def _with_history(changed: pl.LazyFrame, known: pl.LazyFrame, key: str, values: list[str]) -> pl.LazyFrame:
    """Add `_taken`, whether a version has the row's date already, and `_repeated`, whether one has all its values."""
    history = known.join(changed, on=key, how="semi")
    dates = history.select(key, _told=VALID_FROM).unique().with_columns(_taken=pl.lit(value=True))
    rows = history.select(key, *values).unique().with_columns(_repeated=pl.lit(value=True))
    return (
        changed.join(dates, on=[key, "_told"], how="left", maintain_order="left")
        .join(rows, on=[key, *values], how="left", nulls_equal=True, maintain_order="left")
        .with_columns(pl.col("_taken", "_repeated").fill_null(value=False))
    )


def with_added(partition: pl.LazyFrame, added: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Return a partition of versions with further ones; a second look within the hour replaces the first."""
    return (
        pl.concat([partition.with_columns(_second=pl.lit(0)), added.with_columns(_second=pl.lit(1))])
        .sort(key, VALID_FROM, "_second")
        .unique([key, VALID_FROM], keep="last", maintain_order=True)
        .drop("_second")
    )


def preceding(added: pl.LazyFrame, known: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Return the version that counted before each added one: the one at its `valid_from`, else the first one.

    Args:
        added: at most one version per key.
        known: every version before them.
        key: the id column.

    Returns:
        The columns of `known` and `is_first` (Boolean: the added version begins before all known ones, or replaces
        the first one), one row per key that is known.

    """
    added_from = added.select(key, _added_from=VALID_FROM)
    ordered = in_order(known, key).join(added_from, on=key, maintain_order="left")
    begins_before = pl.col(BEGINS) > pl.col("_added_from")
    replaces_first = _is_first(key) & (pl.col(VALID_FROM) == pl.col("_added_from"))
    return (
        ordered.with_columns(is_first=(begins_before | replaces_first).fill_null(value=False))
        .filter(_counts_at(pl.col("_added_from"), key))
        .drop(BEGINS, "_added_from")
    )


def valid_at(versions: pl.LazyFrame, key: str, as_of: datetime) -> pl.LazyFrame:
    """Return one row per `key`, sorted by it: the newest version that counts at `as_of`, else the first one (G1.7)."""
    return _valid_at(in_order(versions, key), key, as_of)


def _valid_at(ordered: pl.LazyFrame, key: str, as_of: datetime) -> pl.LazyFrame:
    return ordered.filter(_counts_at(pl.lit(as_of, INSTANT), key)).drop(BEGINS)


def _counts_at(instant: pl.Expr, key: str) -> pl.Expr:
    """Whether a version, in order, is the newest of its key that has begun at an instant, else the first one."""
    has_begun = pl.col(BEGINS).is_null() | (pl.col(BEGINS) <= instant)
    replaced = pl.col(key).eq_missing(pl.col(key).shift(-1)) & has_begun.shift(-1, fill_value=False)
    return (has_begun & ~replaced) | (~has_begun & _is_first(key))


def constant_and_changing(
    versions: pl.DataFrame, key: str, first: datetime, last: datetime
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return what is valid from `first` to `last`, one row per `key` and sorted by it, and all versions of other keys.

    Most keys have a single version, or none that begins in between: those need to be looked at once.
    """
    ids = versions[key]
    if not ids.is_sorted():
        versions = versions.sort(key)
        ids = versions[key]
    repeated = ((ids == ids.shift(1)) | (ids == ids.shift(-1))).fill_null(value=False)
    several = versions.filter(repeated)
    if not several.height:
        return versions, several
    ordered = in_order(several.lazy(), key).collect()
    change = ordered.filter((pl.col(BEGINS) > first) & (pl.col(BEGINS) <= last))
    others = ordered.join(change, on=key, how="anti", maintain_order="left")
    constant = _valid_at(others.lazy(), key, first).collect()
    return versions.filter(~repeated).merge_sorted(constant, key), several.join(
        change, on=key, how="semi", maintain_order="left"
    )


def carried_since(versions: pl.LazyFrame, key: str, column: str, as_of: datetime) -> pl.LazyFrame:
    """Return since when the value of `column` that is valid at `as_of` has been carried without a break.

    Returns:
        One row per `key`: `key` and `carried_since` (Datetime UTC; null if the first version carries it,
        which counts since ever).

    """
    return _carried_since(in_order(versions, key), key, column, as_of)


def _carried_since(ordered: pl.LazyFrame, key: str, column: str, as_of: datetime) -> pl.LazyFrame:
    changed = pl.col(column).ne_missing(pl.col(column).shift(1).over(key)) & (pl.int_range(pl.len()).over(key) > 0)
    begun = pl.col(BEGINS) <= pl.lit(as_of, INSTANT)
    return (
        ordered.with_columns(_changed=changed)
        .group_by(key, maintain_order=True)
        .agg(carried_since=pl.col(BEGINS).filter(pl.col("_changed") & begun).last())
    )


def of_changed(versions: pl.LazyFrame, key: str) -> pl.LazyFrame:
    """Return the versions of keys that have more than one."""
    changed = versions.group_by(key).len().filter(pl.col("len") > 1)
    return versions.join(changed, on=key, how="semi")


def keys_with_several(versions: pl.LazyFrame, key: str, column: str, first: datetime, last: datetime) -> pl.LazyFrame:
    """Return the keys for which `column` had more than one value from `first` to `last`; null is no value.

    Returns:
        One column, `key`, each once.

    """
    ordered = in_order(versions, key)
    until = pl.when(pl.col(key) == pl.col(key).shift(-1)).then(pl.col(BEGINS).shift(-1))
    begun = pl.col(BEGINS).is_null() | (pl.col(BEGINS) <= pl.lit(last, INSTANT))
    # A version that another one of the same instant replaces never counts.
    lasts = until.is_null() | ((until > pl.lit(first, INSTANT)) & (pl.col(BEGINS).is_null() | (until > pl.col(BEGINS))))
    return (
        ordered.with_columns(_counted=begun & lasts)
        .filter("_counted")
        .group_by(key)
        .agg(_values=pl.col(column).drop_nulls().n_unique())
        .filter(pl.col("_values") > 1)
        .select(key)
    )


def _is_first(key: str) -> pl.Expr:
    return pl.col(key).ne_missing(pl.col(key).shift(1))


def users_at(versions: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the users as they were at `as_of`.

    Returns:
        One row per user: the columns of `users` and `score_known_at` (Datetime UTC: since when the final
        score has been carried, null = since ever; G5.1).

    """
    ordered = in_order(versions, "user_id")
    users = _with_since(ordered, "user_id", "final_band_score", "score_known_at", as_of)
    # A first version that the source dates carries its score from that date on; an undated one has carried it since
    # ever.
    first = ordered.filter(_is_first("user_id"))
    dated = first.filter(pl.col(UPDATED_AT) == pl.col(BEGINS)).select("user_id", _dated=BEGINS)
    return (
        users.join(dated, on="user_id", how="left", maintain_order="left")
        .with_columns(pl.coalesce("score_known_at", "_dated").alias("score_known_at"))
        .drop("_dated")
    )


def keyboards_at(versions: pl.LazyFrame, as_of: datetime) -> pl.LazyFrame:
    """Return the keyboards as they were at `as_of`.

    Returns:
        One row per keyboard: the columns of `keyboards` and `target_valid_from` (Datetime UTC: since when
        the target has counted, null = since ever; N3.3).

    """
    ordered = in_order(versions, "keyboard_id")
    return _with_since(ordered, "keyboard_id", "target_ms_per_keystroke", "target_valid_from", as_of)


def _with_since(ordered: pl.LazyFrame, key: str, column: str, name: str, as_of: datetime) -> pl.LazyFrame:
    since = _carried_since(ordered, key, column, as_of).rename({"carried_since": name})
    return _valid_at(ordered, key, as_of).join(since, on=key, how="left", maintain_order="left")
