"""Tombstones and their key: who is recognised, and that nothing goes on without the key."""

from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from ghost_pipeline.contracts.erasure import ERASED_PEOPLE
from ghost_pipeline.errors import LakeError, SettingsError
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.privacy.personal_rows import IDS_SCHEMA
from ghost_pipeline.privacy.tombstones import (
    NO_TOMBSTONES,
    erased_users,
    erasure_key,
    finish_erasure,
    record_tombstones,
    require_erasure_key,
    tombstones,
)
from ghost_pipeline.settings import Settings

KEY, OTHER = "a key of thirty-two characters or more", "another key of thirty-two characters or more"
NOON = datetime(2025, 3, 12, 12, tzinfo=UTC)
PEOPLE = [("u1", "user_id", "u1"), ("u1", "session_id", "s1"), ("u2", "user_id", "u2"), ("u2", "session_id", "s2")]


def ids(*rows: tuple[str, str, str]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=IDS_SCHEMA, orient="row")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "data" / "lake")


def settings(lake: Lake, key: str | None = KEY) -> Settings:
    return Settings.load(data=lake.root.parent, erasure_key=key)


def test_nobody_needs_a_key(lake: Lake) -> None:
    assert tombstones(lake, settings(lake, None)) is NO_TOMBSTONES


def test_an_id_is_recognised_in_its_own_column_alone(lake: Lake) -> None:
    record_tombstones(lake, KEY.encode(), ids(*PEOPLE), NOON)
    finish_erasure(lake, KEY.encode(), ["u1", "u2"])
    known = tombstones(lake, settings(lake))
    assert known.among("user_id", pl.Series(["u2", "u3", None, "s1", "u1", "u2"])).to_list() == ["u1", "u2"]
    assert known.among("session_id", pl.Series(["u1", "s1"])).to_list() == ["s1"]
    assert known.among("user_id", pl.Series([], dtype=pl.String)).to_list() == []


def test_no_id_can_be_read_or_tried_without_the_key(lake: Lake) -> None:
    record_tombstones(lake, KEY.encode(), ids(*PEOPLE), NOON)
    first = lake.scan(ERASED_PEOPLE).collect()
    assert first["erased_date"].unique().to_list() == [date(2025, 3, 12)]
    assert ERASED_PEOPLE.faults(first) == []
    other = Lake(lake.root.parent / "other")
    record_tombstones(other, OTHER.encode(), ids(*PEOPLE), NOON)
    second = other.scan(ERASED_PEOPLE).collect()
    assert not set(first["tombstone"]) & set(second["tombstone"])
    assert not set(first["key_check"]) & set(second["key_check"])


def test_a_second_time_nothing_is_added(lake: Lake) -> None:
    assert record_tombstones(lake, KEY.encode(), ids(*PEOPLE[:2]), NOON) == 2
    assert record_tombstones(lake, KEY.encode(), ids(*PEOPLE), NOON) == 2
    assert lake.scan(ERASED_PEOPLE).collect().height == 4
    assert erased_users(lake, KEY.encode(), ["u1", "u2", "u3"]) == {"u1", "u2"}


def test_no_source_is_read_while_somebody_is_half_erased(lake: Lake) -> None:
    record_tombstones(lake, KEY.encode(), ids(*PEOPLE), NOON)
    finish_erasure(lake, KEY.encode(), ["u1"])
    with pytest.raises(LakeError, match=r"an erasure was interrupted.*ghost-pipeline erase"):
        tombstones(lake, settings(lake))
    finish_erasure(lake, KEY.encode(), ["u2"])
    assert len(tombstones(lake, settings(lake)).hashes) == 4
    assert lake.scan(ERASED_PEOPLE).collect()["under_way"].null_count() == 4


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (None, "without their key a source would bring them back. Set GHOST_ERASURE_KEY"),
        (OTHER, "not the key under which people were erased"),
    ],
)
def test_nothing_goes_on_without_the_key(key: str | None, says: str, lake: Lake) -> None:
    record_tombstones(lake, KEY.encode(), ids(*PEOPLE), NOON)
    with pytest.raises(SettingsError, match=says):
        tombstones(lake, settings(lake, key))


def test_nobody_is_added_under_another_key(lake: Lake) -> None:
    record_tombstones(lake, KEY.encode(), ids(*PEOPLE[:2]), NOON)
    with pytest.raises(SettingsError, match="not the key"):
        record_tombstones(lake, OTHER.encode(), ids(*PEOPLE), NOON)
    assert lake.scan(ERASED_PEOPLE).collect().height == 2


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    assert erasure_key(Settings.load(data=tmp_path / "data", erasure_key_file=file)) == KEY.encode()
    assert erasure_key(Settings.load(data=tmp_path / "data", erasure_key=KEY)) == KEY.encode()


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), ("short", "holds 5 characters; a key needs 32")]
)
def test_a_file_without_a_key_is_named(content: str | None, says: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    with pytest.raises(SettingsError, match=f"GHOST_ERASURE_KEY_FILE: .*{says}"):
        erasure_key(Settings.load(data=tmp_path / "data", erasure_key_file=file))


def test_erasing_needs_a_key(lake: Lake) -> None:
    with pytest.raises(SettingsError, match="GHOST_ERASURE_KEY, or GHOST_ERASURE_KEY_FILE: not set"):
        require_erasure_key(settings(lake, None))


@pytest.mark.parametrize("inside", ["key", "lake/key", "../data/key"])
def test_a_key_in_the_data_folder_is_refused(inside: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with pytest.raises(SettingsError, match="GHOST_ERASURE_KEY_FILE: is in the data folder"):
        Settings.load(data=data, erasure_key_file=data / inside)


def test_two_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="GHOST_ERASURE_KEY_FILE: set as well as GHOST_ERASURE_KEY"):
        Settings.load(erasure_key=KEY, erasure_key_file=tmp_path / "key")


def test_a_short_key_is_refused_and_not_cited() -> None:
    with pytest.raises(SettingsError, match=r"GHOST_ERASURE_KEY: .*a key needs 32 or more") as raised:
        Settings.load(erasure_key="hunter2")
    assert "hunter2" not in str(raised.value)
