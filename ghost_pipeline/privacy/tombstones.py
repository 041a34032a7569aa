"""Tombstones: keyed hashes of the ids of people who were erased, so that no source brings them back.

The key lies outside the data folder. Without it nobody can try ids against the hashes; with another one nobody would
be recognised, so where there are tombstones no source is read without their key.
"""

import hmac
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import polars as pl

from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.contracts.raw import USERS
from ghost_pipeline.errors import LakeError, SettingsError
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.privacy.personal_columns import USER
from ghost_pipeline.settings import MIN_KEY_LENGTH, Settings
from ghost_pipeline.windows import Day, Hour

_GONE = "gone"
"""The name of what is kept of the last look at whether all who were erased are gone."""
_GONE_SCHEMA = pl.Schema({**FILE_VERSION_SCHEMA, "tombstones": pl.String()})
_NAMES = "GHOST_ERASURE_KEY, or GHOST_ERASURE_KEY_FILE"


def erasure_key(settings: Settings) -> bytes | None:
    """The key as it is set; None where none is.

    Raises:
        SettingsError: its file cannot be read, or holds too short a key.

    """
    if settings.erasure_key is not None:
        return settings.erasure_key.get_secret_value().encode()
    if settings.erasure_key_file is None:
        return None
    try:
        key = settings.erasure_key_file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"GHOST_ERASURE_KEY_FILE: {settings.erasure_key_file} cannot be read ({error.strerror or error}). Bring it "
            f"back, or make it readable",
        ) from error
    if len(key) < MIN_KEY_LENGTH:
        raise SettingsError(
            f"GHOST_ERASURE_KEY_FILE: {settings.erasure_key_file} holds {len(key)} characters; a key needs "
            f"{MIN_KEY_LENGTH} or more",
        )
    return key


def require_erasure_key(settings: Settings) -> bytes:
    """The key as it is set.

    Raises:
        SettingsError: none is set, or it cannot be read.

    """
    key = erasure_key(settings)
    if key is None:
        raise SettingsError(
            f"{_NAMES}: not set, and whoever is erased is remembered by a hash under that key. Set {_NAMES} to "
            f"{MIN_KEY_LENGTH} or more random characters, and keep them for as long as the lake",
        )
    return key


@dataclass(frozen=True)
class Tombstones:
    """The people who were erased, recognised by their ids."""

    key: bytes
    hashes: frozenset[str]

    def among(self, column: str, ids: pl.Series) -> pl.Series:
        """Those ids of a column that names people who were erased; sorted, each once."""
        erased = [one for one in ids.drop_nulls().unique() if self.of(column, one) in self.hashes]
        return pl.Series(column, erased, pl.String).sort()

    def of(self, column: str, one: str) -> str:
        """The hash of an id."""
        return hmac.digest(self.key, f"{column}\0{one}".encode(), "sha256").hex()


NO_TOMBSTONES = Tombstones(b"", frozenset())
"""Nobody was erased."""


def tombstones(lake: Lake, settings: Settings) -> Tombstones:
    """Whom no source may bring back.

    Raises:
        SettingsError: somebody was erased, and the key is not set, or another one.
        LakeError: an erasure was interrupted, or the lake knows somebody again; until they are gone, nothing may be
            taken in.

    """
    known = lake.scan(ERASED_PEOPLE).collect()
    if known.is_empty():
        return NO_TOMBSTONES
    found = _recognised(known, erasure_key(settings))
    if known["under_way"].is_not_null().any():
        raise LakeError(
            f"{ERASED_PEOPLE.name}: an erasure was interrupted, and parts of a person are still in the lake. Run "
            f"`ghost-pipeline erase` for that person again, or `ghost-pipeline erase --again`: it goes on where it was",
        )
    _require_gone(lake, found)
    return found


def _require_gone(lake: Lake, erased: Tombstones) -> None:
    """Make sure that the lake knows nobody who was erased: whom it knows is taken in.

    Only hours of `users` are looked at that have changed since the last look under the same tombstones: a million users
    cost 1.9 s once.
    """
    hashes = sha256("".join(sorted(erased.hashes)).encode()).hexdigest()
    cache, versions = Cache(lake.root, ERASED_PEOPLE.name), lake.file_versions_of(USERS)
    seen = cache.read(_GONE, _GONE_SCHEMA).filter(pl.col("tombstones") == hashes)
    changed = versions.join(seen, on=["hour", "file_version"], how="anti")["hour"].sort()
    if changed.is_empty():
        return
    there = lake.scan(USERS, [Hour.containing(start) for start in changed]).select(pl.col(USER).unique())
    back = erased.among(USER, there.collect().to_series())
    if len(back):
        raise LakeError(
            f"{USERS.name}: has {len(back)} people who were erased, and every run would take in what the source has of "
            f"them; most likely a backup was restored. Run `ghost-pipeline erase --again`: it finds them"
        )
    # What cannot be kept is looked at again.
    with suppress(LakeError):
        cache.write({_GONE: versions.with_columns(tombstones=pl.lit(hashes))})


def record_tombstones(lake: Lake, key: bytes, ids: pl.DataFrame, at: datetime) -> int:
    """Put down tombstones of people before anything is removed; they say that this is under way.

    So do those that were there of the people themselves: what a backup has brought back goes like anything else.

    Args:
        lake: where to.
        key: that of the tombstones that are there, if any.
        ids: user_id, and of each of theirs `column`, what it is an id of, and `id`; all String. What is nobody's any
            more (user_id null) has its tombstone.
        at: when, aware.

    Returns:
        How many of the ids had none.

    Raises:
        SettingsError: the tombstones that are there have another key.
        LakeError: they cannot be written.

    """
    known = lake.scan(ERASED_PEOPLE).collect()
    there = _recognised(known, key) if known.height else Tombstones(key, frozenset())
    named = ids.drop_nulls(USER)
    rows = [(there.of(column, one), there.of(USER, user)) for user, column, one in named.iter_rows()]
    wanted = pl.DataFrame(rows, schema={"tombstone": pl.String, "under_way": pl.String}, orient="row")
    new = wanted.unique("tombstone").join(known, on="tombstone", how="anti")
    day = Day.containing(at)
    columns = {"erased_date": pl.lit(day.start.date()), "key_check": pl.lit(_key_check(key))}
    added = new.with_columns(**columns).select(known.columns)
    _write(lake, day, pl.concat([lake.scan(ERASED_PEOPLE, [day]).collect(), added]))
    again = pl.col("tombstone").is_in([there.of(USER, user) for user in named[USER].unique()])
    _change(lake, again & pl.col("under_way").is_null(), pl.col("tombstone"))
    return new.height


def finish(lake: Lake, key: bytes, users: Collection[str] | None = None) -> None:
    """Say of people, or of all, that everything of theirs is gone."""
    there = Tombstones(key, frozenset())
    done = pl.col("under_way").is_not_null()
    if users is not None:
        done = pl.col("under_way").is_in([there.of(USER, user) for user in users])
    _change(lake, done, pl.lit(None, pl.String))


def load_tombstones(lake: Lake, key: bytes) -> Tombstones:
    """The tombstones that are there, whatever else is.

    Raises:
        SettingsError: they have another key.

    """
    known = lake.scan(ERASED_PEOPLE).collect()
    return NO_TOMBSTONES if known.is_empty() else _recognised(known, key)


def buried(lake: Lake, key: bytes, users: Collection[str]) -> set[str]:
    """Those users who have tombstones.

    Raises:
        SettingsError: the tombstones have another key.

    """
    return set(load_tombstones(lake, key).among(USER, pl.Series(USER, sorted(users), pl.String)))


def _recognised(known: pl.DataFrame, key: bytes | None) -> Tombstones:
    if key is None:
        raise SettingsError(
            f"{ERASED_PEOPLE.name}: people were erased, and without their key a source would bring them back. Set "
            f"{_NAMES} to what it was then",
        )
    if (known["key_check"] != _key_check(key)).any():
        raise SettingsError(
            f"{_NAMES}: not the key under which people were erased ({ERASED_PEOPLE.name}), and with another one a "
            f"source would bring them back. Set it to what it was then",
        )
    return Tombstones(key, frozenset(known["tombstone"]))


def _key_check(key: bytes) -> str:
    return hmac.digest(key, b"", "sha256").hex()


def _change(lake: Lake, which: pl.Expr, under_way: pl.Expr) -> None:
    for day in lake.days(ERASED_PEOPLE):
        rows = lake.scan(ERASED_PEOPLE, [day]).collect()
        if rows.filter(which).height:
            _write(lake, day, rows.with_columns(under_way=pl.when(which).then(under_way).otherwise("under_way")))


def _write(lake: Lake, day: Day, rows: pl.DataFrame) -> None:
    # In the order of the hashes: nothing tells which of them are of one person.
    lake.write(ERASED_PEOPLE, day, rows.sort("tombstone"))
