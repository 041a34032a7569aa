"""Every setting, typed and validated, read from `GHOST_*` environment variables.

Add a setting: one field of `Settings`, or of `PlaceSettings` if it names a place. `ghost-pipeline settings`, its
validation and its default follow from it; no other module states a default. Comments above groups of thresholds name
the rules that they belong to.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ghost_pipeline.errors import SettingsError
from ghost_pipeline.locations import (
    may_hold_password,
)
from ghost_pipeline.place_settings import PlaceSettings
from ghost_pipeline.windows import parse_lengths, shown_length

TOP_BAND = Decimal(9)
MAX_NGRAM_SIZE = 20
MAX_TASK_MINUTES = 24 * 60
MIN_TARGET_MS, MAX_TARGET_MS = 50.0, 5000.0
MIN_KEY_LENGTH = 32
SECRET = frozenset({"token_key", "erasure_key", "source", "publish_postgres", "alert_urls"})
"""Settings whose values no message cites."""
MAX_LOOKBACK_HOURS = 10 * 366 * 24


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


CommaSeparated = BeforeValidator(_split)
Score = TypeVar("Score", Decimal, int)
Band = Annotated[Decimal, Field(ge=0, le=TOP_BAND, decimal_places=1)]
Percentile = Annotated[int, Field(ge=1, le=99)]
Days = Annotated[int, Field(ge=1)]


class Settings(PlaceSettings, BaseSettings):
    """All settings; the environment variable of a field is `GHOST_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="GHOST_", env_ignore_empty=True, frozen=True, extra="forbid")

    partitions_start: datetime | None = Field(
        default=None,
        description="First hour that Dagster offers as a partition; the command line also runs earlier hours. Default: "
        "the first event of the lake; 2024-01-01 for a lake without one or in a bucket",
    )
    catch_up_hours: int = Field(
        default=31 * 24,
        ge=1,
        le=366 * 24,
        description="Hours before the one just closed that hourly_schedule still requests if they were missed; earlier "
        "ones need a backfill",
    )
    quiet_hours: int = Field(
        default=7 * 24,
        ge=1,
        description="Hours after the source's newest event that are still built; later ones are skipped with a "
        "warning, which keeps what is shown",
    )
    lookback_hours: int = Field(
        default=48,
        ge=1,
        le=MAX_LOOKBACK_HOURS,
        description="Hours before as_of that every hourly run reads again, to catch late and changed events",
    )
    max_task_minutes: int = Field(
        default=MAX_TASK_MINUTES,
        ge=1,
        # Keeps sums of milliseconds in Int64, and no task takes a year.
        le=366 * 24 * 60,
        description="Minutes that a single task may take; a source row with more is rejected",
    )
    source_keeps: int = Field(
        default=0,
        ge=0,
        description="Hours for which the source keeps its events; a run only adds to older hours and never replaces "
        "them. 0: the source keeps events forever",
    )
    max_removed_percent: int = Field(
        default=20,
        ge=0,
        le=100,
        description="Largest share of an hour's rows that a run may remove, in percent; a run that would remove more "
        "stops, because sources purge and replicas come back empty",
    )
    min_removed_rows: int = Field(default=10, ge=1, description="Rows of an hour that must be gone before a run stops")
    read_memory_mb: int = Field(default=1024, ge=64, description="Memory in MB for rows that are read together")
    accept_deletions: bool = Field(
        default=False, description="Whether a run that would remove more than GHOST_MAX_REMOVED_PERCENT goes on"
    )
    hours_per_run: int = Field(
        default=24,
        ge=1,
        le=744,
        description="Hours that a backfill runs in one process, each computed from the hour before it",
    )
    retention: Annotated[dict[str, timedelta | None], NoDecode, BeforeValidator(parse_lengths)] = Field(
        default_factory=dict,
        description="How long a table's partitions are kept, counted from its newest one, if not as docs/tables.md "
        "says: user_ghost_stats=14d,rejected_rows=90d,ghost_messages=48h,ngram_speed_summaries=forever",
    )
    volume_fall_percent: int = Field(
        default=40,
        ge=1,
        le=100,
        description="The check `volume` warns if 24 hours have fewer rows than expected by more than this, in percent",
    )
    volume_rise_percent: int = Field(
        default=80,
        ge=1,
        description="The check `volume` warns if 24 hours have more rows than expected by more than this, in percent",
    )
    period_move_percent: int = Field(
        default=30,
        ge=1,
        description="The check `period_over_period` warns if a figure moves by more than this from a day, a week or "
        "a month before, in percent",
    )
    keep_run_days: int = Field(
        default=90, ge=1, description="Days that Dagster's records of runs are kept while run_records_schedule is on"
    )
    # G5.1 to G5.3, G6
    bands: Annotated[tuple[Band, ...], NoDecode, CommaSeparated] = Field(
        default=(Decimal("7.0"), Decimal("7.5"), Decimal("8.0")), description="Target bands of the benchmarks"
    )
    starting_skills: Annotated[tuple[Band, ...], NoDecode, CommaSeparated] = Field(
        default=(Decimal("5.0"), Decimal("5.5"), Decimal("6.0"), Decimal("6.5")),
        description="Starting skills of the benchmarks, each the lower end of a half-band",
    )
    benchmark_days: int = Field(
        default=90, ge=1, le=366, description="Last day of the journey with a benchmark, counted from 1"
    )
    success_percentiles: Annotated[tuple[Percentile, ...], NoDecode, CommaSeparated] = Field(
        default=(10, 25, 50),
        description="Top percentages of achievers that benchmarks are given for: 10 means the top 10 %",
    )
    min_sample: int = Field(
        default=50, ge=1, description="Achievers that a row of the monthly tables needs; with fewer there is no row"
    )
    streak_thresholds: Annotated[tuple[Days, ...], NoDecode, CommaSeparated] = Field(
        default=(3, 5, 7, 14, 30),
        description="Lengths in days that ghost_streak_shares compares the longest streaks with",
    )
    share_percent_step: int = Field(
        default=1,
        ge=1,
        le=50,
        description="Streak shares are published as multiples of this many percent; with 5, groups inside one another "
        "do not tell what the one or two people between them did",
    )
    benchmark_move_percent: int = Field(
        default=20,
        ge=1,
        description="The check `stable` warns if a published benchmark moves by more than this from month to month, "
        "in percent",
    )
    shards: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Parts in which the users of a month are computed: more parts take less memory and give the same "
        "bytes",
    )
    # G9
    release_min_members: int = Field(
        default=10, ge=3, description="Active members that a cohort needs before any of its figures are released"
    )
    release_min_members_percentiles: int = Field(
        default=20,
        ge=3,
        description="Active members that a cohort needs before its 75th and 90th percentiles are released",
    )
    release_max_share_percent: int = Field(
        default=90,
        ge=1,
        le=100,
        description="Largest share that the two largest members of a cohort may hold of what is left of a sum, or of a "
        "change, if one of the three largest is taken away, in percent",
    )
    release_min_changed: int = Field(
        default=4,
        ge=1,
        description="Members whose number in a figure must have changed before a new version of it is "
        "released, unless none has changed (three others, plus possibly the reader)",
    )
    release_compared_hours: int = Field(
        default=336,
        ge=1,
        le=31 * 24,
        description="A new release is compared with every release of this many hours before it, and with the last one",
    )
    release_stay_hours: int = Field(
        default=48,
        ge=0,
        description="Greatest age at which the last release of a cohort stays if no new one is possible; after that "
        "the cohort is suppressed",
    )
    rank_step_persons: int = Field(
        default=5, ge=1, description="Steps in which the members below a user are counted for the rank that is shown"
    )
    rank_min_users: int = Field(
        default=100, ge=1, description="Users that there must be before a rank among all users is shown"
    )
    release_profile: Literal["standard", "strict"] = Field(
        default="standard",
        description="strict: averages are released as whole numbers, the number of members in fives, and the 75th and "
        "90th percentiles from 50 members",
    )
    # G5.5, G7.6, G7.7, G8
    release_max_age_hours: int = Field(
        default=48,
        ge=1,
        description="Greatest age of a release that an answer may use, counted back from the answer's as_of",
    )
    benchmark_max_age_days: int = Field(
        default=62,
        ge=1,
        description="Greatest age of a month's figures that an answer may use, counted back from the answer's as_of",
    )
    benchmark_delay_hours: int = Field(
        default=24, ge=0, description="Hours after the end of a month before answers use its figures"
    )
    default_target_band: Band = Field(
        default=Decimal("7.5"), description="Band that a user without a target band is compared with"
    )
    export_messages: bool = Field(
        default=True, description="Whether every hour writes ghost_messages, the export of all users' messages"
    )
    token_key: SecretStr | None = Field(
        default=None,
        description="Key of the signed tokens (HS256) that callers of the HTTP API send; without it the server asks "
        "for none and listens on loopback only",
    )
    erasure_key: SecretStr | None = Field(
        default=None,
        description="Key of the tombstones of erased people. Anyone holding it can test whether an id was erased. "
        "Never change it, and never keep it in the data folder",
    )
    erasure_key_file: Path | None = Field(
        default=None,
        description="File outside the data folder that holds the erasure key, in place of GHOST_ERASURE_KEY",
    )
    erasure_rebuilds: Literal["nothing", "months", "everything"] = Field(
        default="months",
        description="What an erasure computes again: nothing; months: those in which the person may have counted as "
        "an achiever; everything: also marks every hour that includes the person as stale, for a backfill",
    )
    # N2.1, N3.1, N3.2, N5.2
    decay_factor: float = Field(
        default=0.9, gt=0, le=1, description="Weight of a measurement that is one day older than the newest one"
    )
    max_measurements: int = Field(
        default=20, ge=1, description="Newest measurements of an n-gram that enter its average"
    )
    max_sessions: int = Field(
        default=100, ge=1, description="Newest sessions of a user on a keyboard that a summary covers"
    )
    max_ngram_size: int = Field(
        default=MAX_NGRAM_SIZE, ge=1, le=MAX_NGRAM_SIZE, description="Longest n-gram that is extracted from keystrokes"
    )
    default_target_ms: float = Field(
        default=600.0,
        ge=MIN_TARGET_MS,
        le=MAX_TARGET_MS,
        description="Target in ms per keystroke for a keyboard that names none",
    )

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """The settings of this process's environment; `overrides` win.

        Raises:
            SettingsError: names each variable that is wrong, and why.

        """
        try:
            return cls.model_validate({**cls().model_dump(), **overrides})
        except ValidationError as error:
            faults = "; ".join(_fault(one) for one in error.errors())
        # Outside of the handler, so that the cause is not kept: it cites values, which may be keys. It also holds the
        # frames of its validators where the garbage collector cannot see them, so frames that hold this error would
        # never be freed, nor the modules of these frames: at exit DuckDB would print that it leaks.
        raise SettingsError(f"settings: {faults}. `ghost-pipeline settings` lists them all")

    @field_validator("bands", "starting_skills", "success_percentiles", "streak_thresholds")
    @classmethod
    def _check_ascending(cls, values: tuple[Score, ...]) -> tuple[Score, ...]:
        if not values:
            raise ValueError("at least one value is needed")
        if len(set(values)) != len(values):
            raise ValueError("a value is repeated")
        return tuple(sorted(values))

    @field_validator("token_key", "erasure_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value) < MIN_KEY_LENGTH:
            raise ValueError(f"has {len(value)} characters; a key needs {MIN_KEY_LENGTH} or more")
        return value

    @field_validator("partitions_start")
    @classmethod
    def _check_start(cls, value: datetime | None) -> datetime | None:
        if value is None:
            return None
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if value != value.replace(day=1, hour=0, minute=0, second=0, microsecond=0):
            raise ValueError("has to be the first instant of a UTC month, such as 2024-01-01")
        return value

    @model_validator(mode="after")
    def _check_erasure_key_file(self) -> Self:
        if self.erasure_key_file is None:
            return self
        if self.erasure_key is not None:
            raise ValueError("GHOST_ERASURE_KEY_FILE: set as well as GHOST_ERASURE_KEY. Unset one of them")
        folders = [self.local, *([self.data] if isinstance(self.data, Path) else [])]
        if any(self.erasure_key_file.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise ValueError(
                "GHOST_ERASURE_KEY_FILE: is in the data folder, and anyone with a copy of that could test ids. Move it"
            )
        return self

    @field_serializer("retention", when_used="json")
    def _show_retention(self, value: dict[str, timedelta | None]) -> str:
        return ",".join(f"{table}={shown_length(kept)}" for table, kept in value.items())

    @property
    def quiet(self) -> timedelta:
        """How long after the newest event of the source hours are still built."""
        return timedelta(hours=self.quiet_hours)

    @property
    def catch_up(self) -> timedelta:
        """How long ago hours may have been missed that the schedule still requests."""
        return timedelta(hours=self.catch_up_hours)


def _fault(fault: ErrorDetails) -> str:
    if not fault["loc"]:
        # A fault between two settings names both itself.
        return str(fault["ctx"]["error"])
    name = str(fault["loc"][0])
    # A key that is too short is still a key, and an address may hold a password before its host.
    got = "" if name in SECRET or may_hold_password(str(fault["input"])) else f" (got {fault['input']!r})"
    return f"GHOST_{name.upper()}: {fault['msg']}{got}"
