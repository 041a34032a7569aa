"""Every setting: its default, what it refuses, and that the message names its variable."""

import json
import os
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ghost_pipeline.errors import SettingsError
from ghost_pipeline.locations import Mirrored
from ghost_pipeline.settings import Settings

WRONG = (
    ("GHOST_PUBLISH_POSTGRES", "mysql://app@host/app"),
    ("GHOST_PUBLISH_POSTGRES", "postgresql://app:p@ss@host/app"),
    ("GHOST_PUBLISH_POSTGRES", "app"),
    ("GHOST_OWNER", "nobody"),
    ("GHOST_OWNER", "team:"),
    ("GHOST_LOG", "xml"),
    ("GHOST_ALERT_URLS", "json://hooks.example.com swordfish"),
    ("GHOST_ALERT_PAUSE_MINUTES", "-1"),
    ("GHOST_ALERT_REJECTED_ROWS", "0"),
    ("GHOST_MAX_TASK_MINUTES", "0"),
    ("GHOST_MAX_TASK_MINUTES", "527041"),
    ("GHOST_SOURCE_KEEPS", "-1"),
    ("GHOST_MIN_REMOVED_ROWS", "0"),
    ("GHOST_READ_MEMORY_MB", "63"),
    ("GHOST_MAX_REMOVED_PERCENT", "-1"),
    ("GHOST_MAX_REMOVED_PERCENT", "101"),
    ("GHOST_ACCEPT_DELETIONS", "perhaps"),
    ("GHOST_HOURS_PER_RUN", "0"),
    ("GHOST_HOURS_PER_RUN", "745"),
    ("GHOST_RETENTION", "168h"),
    ("GHOST_RETENTION", "user_ghost_stats"),
    ("GHOST_RETENTION", "user_ghost_stats=0h"),
    ("GHOST_RETENTION", "user_ghost_stats=7"),
    ("GHOST_RETENTION", "user_ghost_stats=1.5d"),
    ("GHOST_RETENTION", "user_ghost_stats=7d;ghost_messages=7d"),
    ("GHOST_RETENTION", "user_ghost_stats=7d,user_ghost_stats=8d"),
    ("GHOST_RETENTION", "user_ghost_stats=7d,"),
    ("GHOST_VOLUME_FALL_PERCENT", "0"),
    ("GHOST_VOLUME_FALL_PERCENT", "101"),
    ("GHOST_VOLUME_RISE_PERCENT", "0"),
    ("GHOST_PERIOD_MOVE_PERCENT", "0"),
    ("GHOST_KEEP_RUN_DAYS", "0"),
    ("GHOST_RELEASE_STAY_HOURS", "-1"),
    ("GHOST_RANK_STEP_PERSONS", "0"),
    ("GHOST_RANK_MIN_USERS", "0"),
    ("GHOST_SHARE_PERCENT_STEP", "0"),
    ("GHOST_SHARE_PERCENT_STEP", "51"),
    ("GHOST_CATCH_UP_HOURS", "0"),
    ("GHOST_QUIET_HOURS", "0"),
    ("GHOST_LOOKBACK_HOURS", "0"),
    ("GHOST_LOOKBACK_HOURS", "-1"),
    ("GHOST_LOOKBACK_HOURS", "1.5"),
    ("GHOST_LOOKBACK_HOURS", "two days"),
    ("GHOST_LOOKBACK_HOURS", "99999999999"),
    ("GHOST_PARTITIONS_START", "2024-01-02"),
    ("GHOST_PARTITIONS_START", "2024-01-01T01:00"),
    ("GHOST_PARTITIONS_START", "2024-01-01T00:00+02:00"),
    ("GHOST_PARTITIONS_START", "January"),
    ("GHOST_BANDS", "7.0,9.5"),
    ("GHOST_BANDS", "-0.5"),
    ("GHOST_BANDS", "7.25"),
    ("GHOST_BANDS", "7.0,7.0"),
    ("GHOST_BANDS", "7.0,7"),
    ("GHOST_BANDS", "7.0,,8.0"),
    ("GHOST_BANDS", "7.0;8.0"),
    ("GHOST_BANDS", "NaN"),
    ("GHOST_STARTING_SKILLS", "5.55"),
    ("GHOST_STARTING_SKILLS", "6.0,5.0,6.0"),
    ("GHOST_STARTING_SKILLS", "ten"),
    ("GHOST_BENCHMARK_DAYS", "0"),
    ("GHOST_BENCHMARK_DAYS", "367"),
    ("GHOST_SUCCESS_PERCENTILES", "0,50"),
    ("GHOST_SUCCESS_PERCENTILES", "100"),
    ("GHOST_SUCCESS_PERCENTILES", "25,25"),
    ("GHOST_SUCCESS_PERCENTILES", "12.5"),
    ("GHOST_MIN_SAMPLE", "0"),
    ("GHOST_STREAK_THRESHOLDS", "0,5"),
    ("GHOST_STREAK_THRESHOLDS", "5,5"),
    ("GHOST_STREAK_THRESHOLDS", "a week"),
    ("GHOST_BENCHMARK_MOVE_PERCENT", "0"),
    ("GHOST_SHARDS", "0"),
    ("GHOST_SHARDS", "257"),
    ("GHOST_RELEASE_MIN_MEMBERS", "2"),
    ("GHOST_RELEASE_MIN_MEMBERS_PERCENTILES", "2"),
    ("GHOST_RELEASE_MAX_SHARE_PERCENT", "0"),
    ("GHOST_RELEASE_MAX_SHARE_PERCENT", "101"),
    ("GHOST_RELEASE_MIN_CHANGED", "0"),
    ("GHOST_RELEASE_COMPARED_HOURS", "0"),
    ("GHOST_RELEASE_COMPARED_HOURS", "745"),
    ("GHOST_RELEASE_PROFILE", "lenient"),
    ("GHOST_RELEASE_MAX_AGE_HOURS", "0"),
    ("GHOST_BENCHMARK_MAX_AGE_DAYS", "0"),
    ("GHOST_BENCHMARK_DELAY_HOURS", "-1"),
    ("GHOST_DEFAULT_TARGET_BAND", "9.5"),
    ("GHOST_DEFAULT_TARGET_BAND", "7.25"),
    ("GHOST_EXPORT_MESSAGES", "perhaps"),
    ("GHOST_TOKEN_KEY", "short"),
    ("GHOST_ERASURE_KEY", "short"),
    ("GHOST_ERASURE_KEY_FILE", "data/key"),
    ("GHOST_ERASURE_REBUILDS", "all"),
    ("GHOST_DECAY_FACTOR", "0"),
    ("GHOST_DECAY_FACTOR", "1.1"),
    ("GHOST_DECAY_FACTOR", "nan"),
    ("GHOST_MAX_MEASUREMENTS", "0"),
    ("GHOST_MAX_SESSIONS", "0"),
    ("GHOST_MAX_NGRAM_SIZE", "0"),
    ("GHOST_MAX_NGRAM_SIZE", "21"),
    ("GHOST_DEFAULT_TARGET_MS", "49"),
    ("GHOST_DEFAULT_TARGET_MS", "5001"),
    ("GHOST_DEFAULT_TARGET_MS", "nan"),
    ("GHOST_DEFAULT_TARGET_MS", "inf"),
)


@pytest.fixture(autouse=True)
def _no_setting_of_the_person_who_runs_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("GHOST_"):
            monkeypatch.delenv(name)


def test_defaults_are_those_of_the_decisions() -> None:
    settings = Settings.load()
    assert settings.bands == (Decimal("7.0"), Decimal("7.5"), Decimal("8.0"))
    assert settings.starting_skills == (Decimal("5.0"), Decimal("5.5"), Decimal("6.0"), Decimal("6.5"))
    assert (settings.benchmark_days, settings.success_percentiles, settings.min_sample) == (90, (10, 25, 50), 50)
    assert (settings.decay_factor, settings.max_measurements, settings.max_sessions) == (0.9, 20, 100)
    assert (settings.max_ngram_size, settings.default_target_ms) == (20, 600.0)


def test_everything_that_is_written_lies_below_data_by_default() -> None:
    settings = Settings.load()
    paths = (settings.lake, settings.database, settings.dagster_home)
    assert settings.data == Path("data")
    assert [str(path) for path in paths] == [
        "data/lake",
        "data/ghost.duckdb",
        "data/dagster_home",
    ]


def test_no_source_is_set_by_default() -> None:
    assert Settings.load().source is None


@pytest.mark.parametrize(("variable", "value"), WRONG)
def test_a_wrong_value_is_refused_by_its_variable(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    message = str(raised.value)
    assert message.startswith(f"settings: {variable}: ")
    assert message.endswith("`ghost-pipeline settings` lists them all")
    assert "\n" not in message


def test_every_setting_with_a_limit_is_tried() -> None:
    any_text = {"source", "source_mapping", "data", "work", "metrics_file"}
    tried = {variable.removeprefix("GHOST_").lower() for variable, _ in WRONG}
    assert set(Settings.model_fields) - any_text == tried


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_MIN_SAMPLE", "0")
    monkeypatch.setenv("GHOST_BANDS", "11")
    with pytest.raises(SettingsError, match=r"GHOST_BANDS: .*; GHOST_MIN_SAMPLE: "):
        Settings.load()


def test_the_message_shows_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_LOOKBACK_HOURS", "two days")
    with pytest.raises(SettingsError, match=r"\(got 'two days'\)"):
        Settings.load()


def test_a_key_that_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_TOKEN_KEY", "swordfish")
    with pytest.raises(SettingsError) as raised:
        Settings.load()
    assert "swordfish" not in str(raised.value)


def test_no_address_of_alerts_is_cited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_ALERT_URLS", "json://hooks.example.com swordfish")
    with pytest.raises(SettingsError, match="address 2 has no scheme") as raised:
        Settings.load()
    assert "swordfish" not in str(raised.value)


def test_a_key_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_TOKEN_KEY", "swordfish" * 4)
    assert "swordfish" not in Settings.load().model_dump_json()


def test_a_password_of_an_address_is_neither_listed_nor_cited(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "postgresql://app:swordfish@host/app?sslpassword=swordfish"
    settings = Settings.load(publish_postgres=address)
    assert settings.publish_postgres == address
    assert '"publish_postgres":"postgresql://app:***@host/app?…"' in settings.model_dump_json()
    assert "swordfish" not in repr(settings)
    monkeypatch.setenv("GHOST_PUBLISH_POSTGRES", "postgresql://app:sword@fish@host/app")
    with pytest.raises(SettingsError, match=r"GHOST_PUBLISH_POSTGRES: .* percent-encoded") as raised:
        Settings.load()
    assert "fish" not in str(raised.value)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"GHOST_{name.upper()}", "")
    assert Settings.load() == Settings.model_validate({})


def test_the_environment_wins_over_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_LOOKBACK_HOURS", "24")
    assert Settings.load().lookback_hours == 24


def test_an_override_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_LOOKBACK_HOURS", "24")
    assert Settings.load(lookback_hours=12).lookback_hours == 12


def test_a_wrong_override_is_refused_by_its_variable() -> None:
    with pytest.raises(SettingsError, match=r"GHOST_MIN_SAMPLE: .* \(got -3\)"):
        Settings.load(min_sample=-3)


def test_an_override_that_is_no_setting_is_refused() -> None:
    with pytest.raises(SettingsError, match="GHOST_NONSENSE: "):
        Settings.load(nonsense=1)


def test_lists_are_separated_by_commas_and_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_BANDS", "8.0, 6.5 ,7")
    assert Settings.load().bands == (Decimal("6.5"), Decimal(7), Decimal("8.0"))


@pytest.mark.parametrize("text", ["2025-02-01", "2025-02-01T00:00", "2025-02-01T00:00Z", "2025-02-01T05:30+05:30"])
def test_the_start_of_the_partitions_is_the_first_instant_of_a_utc_month(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GHOST_PARTITIONS_START", text)
    assert Settings.load().partitions_start == datetime(2025, 2, 1, tzinfo=UTC)


def test_settings_do_not_change_after_loading() -> None:
    settings = Settings.load()
    with pytest.raises(ValidationError):
        settings.min_sample = 1  # type: ignore[misc]


def test_every_setting_says_what_it_does() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_every_setting_survives_its_own_text(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "user_ghost_stats=36h,rejected_rows=90d,ghost_messages=forever"
    texts = {"source": "somewhere", "source_mapping": "mapping.yaml", "publish_postgres": "postgresql:///app"}
    texts["metrics_file"] = "ghost.prom"
    texts["alert_urls"] = "json://hooks.example.com"
    texts["partitions_start"] = "2025-02-01T00:00Z"
    settings = Settings.load(**texts, work="work", token_key="k" * 32, erasure_key="e" * 32, retention=kept)
    assert json.loads(settings.model_dump_json())["retention"] == kept
    # The key has one place: its file is the one setting that stays unset.
    assert [name for name, value in settings if value is None] == ["erasure_key_file"]
    for name, value in settings:
        if name == "retention":
            monkeypatch.setenv("GHOST_RETENTION", kept)
            continue
        if value is None:
            continue
        text = ",".join(str(one) for one in value) if isinstance(value, tuple) else str(value)
        text = value.get_secret_value() if isinstance(value, SecretStr) else text
        monkeypatch.setenv(f"GHOST_{name.upper()}", text)
    assert Settings.load() == settings


@pytest.mark.parametrize("address", ["s3://bucket", "s3://bucket/a", "s3://my.bucket-1/a/b=c"])
def test_data_in_a_bucket_lies_below_its_address_and_the_rest_in_a_local_folder(address: str) -> None:
    settings = Settings.load(data=address)
    assert [str(one) for one in (settings.lake, settings.database)] == [
        f"{address}/lake",
        f"{address}/ghost.duckdb",
    ]
    below = Path("data", address.replace("s3://", "s3/"))
    assert (settings.local, settings.dagster_home) == (below, below / "dagster_home")
    assert isinstance(settings.lake, Mirrored)
    assert settings.lake.copy == below / "lake"
    assert json.loads(settings.model_dump_json())["data"] == address
    # A copy with other values is made from a dump.
    assert Settings.load(**settings.model_dump()) == settings


def test_a_slash_at_the_end_of_an_address_says_nothing() -> None:
    assert Settings.load(data="s3://bucket/a/") == Settings.load(data="s3://bucket/a")


def test_the_work_folder_may_be_another_one() -> None:
    in_bucket, in_folder = (Settings.load(data=data, work="/srv/work") for data in ("s3://bucket/a", "folder"))
    assert (in_bucket.local, in_folder.local) == (Path("/srv/work"), Path("/srv/work"))
    assert isinstance(in_bucket.lake, Mirrored)
    assert in_bucket.lake.copy == Path("/srv/work/lake")
    assert in_folder.lake == Path("folder/lake")
    assert in_folder.dagster_home == Path("/srv/work/dagster_home")


@pytest.mark.parametrize(
    "data",
    ["s3://", "s3:/bucket/a", "s3://b", "s3://Bucket/a", "s3://bucket//a", "s3://bucket/a/../b", "gs://bucket/a"],
)
def test_an_address_that_is_none_is_refused(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_DATA", data)
    with pytest.raises(SettingsError, match=r"^settings: GHOST_DATA: .* s3://bucket/prefix \(got "):
        Settings.load()


def test_an_address_with_a_key_is_refused_without_a_word_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GHOST_DATA", "s3://key:s3cr3t@bucket/a")
    with pytest.raises(SettingsError, match=r"^settings: GHOST_DATA: ") as caught:
        Settings.load()
    assert "s3cr3t" not in str(caught.value)
