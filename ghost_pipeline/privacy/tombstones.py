"""Tombstones: keyed hashes of the ids of erased people, so that no source brings them back.

The key is kept outside the data folder. Without it ids cannot be tested against the hashes; with another key no erased
person would be recognised, so a lake with tombstones reads no source without their key.
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

_CHECKED = "gone"
"""The cached frame of the hours of `users` that were found free of erased people."""
_CHECKED_SCHEMA = pl.Schema({**FILE_VERSION_SCHEMA, "tombstones": pl.String()})
_NAMES = "GHOST_ERASURE_KEY, or GHOST_ERASURE_KEY_FILE"


def erasure_key(settings: Settings) -> bytes | None:
    """The key from the settings; None if none is set.

    Raises:
        SettingsError: its file cannot be read, or the key in it is too short.

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
    """The key from the settings.

    Raises:
        SettingsError: none is set, or it cannot be read.

    """
    key = erasure_key(settings)
    if key is None:
        raise SettingsError(
            f"{_NAMES}: not set, but erased people are recognised by a hash under that key. Set {_NAMES} to "
            f"{MIN_KEY_LENGTH} or more random characters, and keep them for as long as the lake",
        )
    return key


@dataclass(frozen=True)
class Tombstones:
    """The hashes of the ids of erased people."""

    key: bytes
    hashes: frozenset[str]

    def among(self, column: str, ids: pl.Series) -> pl.Series:
        """The ids of a column that belong to erased people; sorted, each once."""
        erased = [one for one in ids.drop_nulls().unique() if self.of(column, one) in self.hashes]
        return pl.Series(column, erased, pl.String).sort()

    def of(self, column: str, one: str) -> str:
        """The hash of an id."""
        return hmac.digest(self.key, f"{column}\0{one}".encode(), "sha256").hex()


NO_TOMBSTONES = Tombstones(b"", frozenset())
"""Those of a lake from which no person was erased."""


def tombstones(lake: Lake, settings: Settings) -> Tombstones:
    """The tombstones of a lake that holds nothing of erased people, so that a source may be read.

    Raises:
        SettingsError: there are tombstones, and no key is set, or not their key.
        LakeError: an erasure was interrupted, or erased people are in the lake again.

    """
    stored = lake.scan(ERASED_PEOPLE).collect()
    if stored.is_empty():
        return NO_TOMBSTONES
    found = _recognised(stored, erasure_key(settings))
    if stored["under_way"].is_not_null().any():
        raise LakeError(
            f"{ERASED_PEOPLE.name}: an erasure was interrupted, and parts of a person are still in the lake. Run "
            f"`ghost-pipeline erase` for that person again, or `ghost-pipeline erase --again`: it resumes",
        )
    _require_gone(lake, found)
    return found


def _require_gone(lake: Lake, erased: Tombstones) -> None:
    """Require that no erased person is in `users`, since every run would read their rows from the source.

    Only hours that were replaced since the last check under the same tombstones are read: a million users cost 1.9 s
    once.
    """
    hashes = sha256("".join(sorted(erased.hashes)).encode()).hexdigest()
    cache, versions = Cache(lake.root, ERASED_PEOPLE.name), lake.file_versions_of(USERS)
    seen = cache.read(_CHECKED, _CHECKED_SCHEMA).filter(pl.col("tombstones") == hashes)
    changed = versions.join(seen, on=["hour", "file_version"], how="anti")["hour"].sort()
    if changed.is_empty():
        return
    there = lake.scan(USERS, [Hour.containing(start) for start in changed]).select(pl.col(USER).unique())
    back = erased.among(USER, there.collect().to_series())
    if len(back):
        raise LakeError(
            f"{USERS.name}: has {len(back)} people who were erased, and every run would read their rows from the "
            f"source; most likely a backup was restored. Run `ghost-pipeline erase --again`: it finds them"
        )
    # If the frame cannot be written, the next run reads these hours again.
    with suppress(LakeError):
        cache.write({_CHECKED: versions.with_columns(tombstones=pl.lit(hashes))})


def record_tombstones(lake: Lake, key: bytes, ids: pl.DataFrame, at: datetime) -> int:
    """Record tombstones of people before anything is removed, marked as under way.

    Existing tombstones of these people are marked, too: rows that a backup brought back are erased like any other.

    Args:
        lake: the lake.
        key: key of the existing tombstones, if any.
        ids: `IDS_SCHEMA`. An id without an owner (user_id null) already has a tombstone.
        at: time of the erasure, aware.

    Returns:
        How many of the ids had no tombstone.

    Raises:
        SettingsError: the existing tombstones have another key.
        LakeError: they cannot be written.

    """
    stored = lake.scan(ERASED_PEOPLE).collect()
    hashes = _recognised(stored, key) if stored.height else Tombstones(key, frozenset())
    named = ids.drop_nulls(USER)
    rows = [(hashes.of(column, one), hashes.of(USER, user)) for user, column, one in named.iter_rows()]
    wanted = pl.DataFrame(rows, schema={"tombstone": pl.String, "under_way": pl.String}, orient="row")
    new = wanted.unique("tombstone").join(stored, on="tombstone", how="anti")
    day = Day.containing(at)
    columns = {"erased_date": pl.lit(day.start.date()), "key_check": pl.lit(_key_check(key))}
    added = new.with_columns(**columns).select(stored.columns)
    _write(lake, day, pl.concat([lake.scan(ERASED_PEOPLE, [day]).collect(), added]))
    again = pl.col("tombstone").is_in([hashes.of(USER, user) for user in named[USER].unique()])
    _change(lake, again & pl.col("under_way").is_null(), pl.col("tombstone"))
    return new.height


def finish_erasure(lake: Lake, key: bytes, users: Collection[str] | None = None) -> None:
    """Mark the erasure of some users, or of all, as finished."""
    hashes = Tombstones(key, frozenset())
    done = pl.col("under_way").is_not_null()
    if users is not None:
        done = pl.col("under_way").is_in([hashes.of(USER, user) for user in users])
    _change(lake, done, pl.lit(None, pl.String))


def load_tombstones(lake: Lake, key: bytes) -> Tombstones:
    """Load the stored tombstones.

    Raises:
        SettingsError: they have another key.

    """
    stored = lake.scan(ERASED_PEOPLE).collect()
    return NO_TOMBSTONES if stored.is_empty() else _recognised(stored, key)


def erased_users(lake: Lake, key: bytes, users: Collection[str]) -> set[str]:
    """The users who have tombstones.

    Raises:
        SettingsError: the tombstones have another key.

    """
    return set(load_tombstones(lake, key).among(USER, pl.Series(USER, sorted(users), pl.String)))


def _recognised(stored: pl.DataFrame, key: bytes | None) -> Tombstones:
    if key is None:
        raise SettingsError(
            f"{ERASED_PEOPLE.name}: people were erased, and without their key a source would bring them back. "
            f"Set {_NAMES} to the key of then",
        )
    if (stored["key_check"] != _key_check(key)).any():
        raise SettingsError(
            f"{_NAMES}: not the key under which people were erased ({ERASED_PEOPLE.name}), and with another one a "
            f"source would bring them back. Set it to that key",
        )
    return Tombstones(key, frozenset(stored["tombstone"]))


def _key_check(key: bytes) -> str:
    return hmac.digest(key, b"", "sha256").hex()


def _change(lake: Lake, which: pl.Expr, under_way: pl.Expr) -> None:
    for day in lake.days(ERASED_PEOPLE):
        rows = lake.scan(ERASED_PEOPLE, [day]).collect()
        if rows.filter(which).height:
            _write(lake, day, rows.with_columns(under_way=pl.when(which).then(under_way).otherwise("under_way")))


def _write(lake: Lake, day: Day, rows: pl.DataFrame) -> None:
    # Sorted by hash, so that the order does not show which ones belong to one person.
    lake.write(ERASED_PEOPLE, day, rows.sort("tombstone"))
