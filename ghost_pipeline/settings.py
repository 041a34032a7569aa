"""Every setting, typed and validated, read from `GHOST_*` environment variables.

Thresholds that a decision names are settings with the decision's value as default; the description says
which one. `ghost-pipeline settings` prints this class.
"""

import re
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
from ghost_pipeline.locations import SCHEME, Location, Mirrored, ObjectAddress

MAX_SCORE = Decimal(9)
MAX_NGRAM_SIZE = 20
MIN_KEY_LENGTH = 32
SECRET = frozenset({"token_key", "erasure_key", "source", "publish_postgres"})
"""Settings whose values are never cited."""
_HOST = r"(?:\[[^\[\]@/?#\s]+\]|[^:@/?#\[\],\s]*)(?::\d*)?"
POSTGRES_ADDRESS = re.compile(
    r"(?!.*%(?![0-9A-Fa-f]{2}))postgres(?:ql)?://"
    r"(?:(?P<user>[^:@/?#\s]*)(?::(?P<password>[^@/?#\s]*))?@)?"
    rf"(?P<hosts>{_HOST}(?:,{_HOST})*)"
    r"(?:/(?P<database>[^@/?#\s]*))?"
    r"(?:\?(?P<parameters>[^@#\s]*))?"
)
"""An address of PostgreSQL, as libpq reads it, with the special characters of its parts percent-encoded."""
MALFORMED_POSTGRES_ADDRESS = (
    "Write postgresql://user:password@host:port/database, with special characters of user and password "
    "percent-encoded: @ is %40, / is %2F, % is %25"
)
MAX_LOOKBACK_HOURS = 10 * 366 * 24
_LENGTH = re.compile(r"(\w+)\s*=\s*(?:([1-9]\d{0,5})([hd])|forever)")
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1)}


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _placed(value: object) -> object:
    if not isinstance(value, str) or not ("://" in value or value.startswith("s3:")):
        return value
    if not value.startswith(SCHEME):
        raise ValueError("is neither a folder nor an address such as s3://bucket/prefix")
    return ObjectAddress.parse(value)


def _lengths(value: object) -> object:
    """A text such as `user_ghost_stats=168h,rejected_rows=90d,ghost_messages=forever` as a mapping."""
    if not isinstance(value, str):
        return value
    found: dict[str, timedelta | None] = {}
    for part in value.split(","):
        parts = _LENGTH.fullmatch(part.strip())
        if parts is None:
            raise ValueError(
                f"{part.strip()!r} is not a table and how long, such as user_ghost_stats=168h, =7d, =forever"
            )
        table, number, unit = parts.groups()
        if table in found:
            raise ValueError(f"{table} stands twice")
        found[table] = None if unit is None else int(number) * _UNITS[unit]
    return found


CommaSeparated = BeforeValidator(_split)
Score = TypeVar("Score", Decimal, int)


class Settings(BaseSettings):
    """All settings; the environment variable of a field is `GHOST_` and its name in capitals."""

    model_config = SettingsConfigDict(env_prefix="GHOST_", env_ignore_empty=True, frozen=True, extra="forbid")

    source: str | None = Field(
        default=None,
        repr=False,
        description="Where the canonical tables are read: a folder of Parquet, CSV or NDJSON files, "
        "postgresql://user:password@host:port/database or sqlite:///file",
    )
    source_mapping: Path | None = Field(
        default=None,
        description="YAML file that says which tables, columns or queries of the source are the canonical ones",
    )
    data: Annotated[Path | ObjectAddress, BeforeValidator(_placed)] = Field(
        default=Path("data"),
        description="Folder of everything that is written: the lake, ghost.duckdb, Dagster's records; or "
        "s3://bucket/prefix for the lake and what is published, with credentials and endpoint in AWS_* variables",
    )
    work: Path | None = Field(
        default=None,
        description="Local folder of what cannot lie in a bucket: Dagster's records, locks, caches, copies of objects, "
        "the demo's source; by default GHOST_DATA where that is a folder, else data/s3/bucket/prefix",
    )
    publish_postgres: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL database in which every publication replaces the specification's tables as well: "
        "postgresql://user:password@host:port/database",
    )
    partitions_start: datetime = Field(
        default=datetime(2024, 1, 1, tzinfo=UTC),
        description="First hour that Dagster offers as a partition; earlier hours run from the command line",
    )
    lookback_hours: int = Field(
        default=48,
        ge=1,
        le=MAX_LOOKBACK_HOURS,
        description="Hours before as_of that every hourly run reads again, for late and changed events",
    )
    source_keeps: int = Field(
        default=0,
        ge=0,
        description="Hours for which the source keeps its events: what is older is never replaced by what it has now, "
        "only added to; 0 where it keeps them for ever",
    )
    max_removed_percent: int = Field(
        default=20,
        ge=0,
        le=100,
        description="A run that would remove more than this share of an hour's rows stops: sources purge, replicas "
        "come back empty",
    )
    accept_deletions: bool = Field(
        default=False,
        description="Whether such a run goes on all the same",
    )
    hours_per_run: int = Field(
        default=24,
        ge=1,
        le=744,
        description="Hours that a backfill runs in one process, each computed from the one before it",
    )
    retention: Annotated[dict[str, timedelta | None], NoDecode, BeforeValidator(_lengths)] = Field(
        default_factory=dict,
        description="How long partitions are kept, counted from the newest one of their table, where that differs from "
        "docs/tables.md: user_ghost_stats=14d,rejected_rows=90d,ghost_messages=48h,ngram_speed_summaries=forever",
    )
    volume_fall_percent: int = Field(
        default=40,
        ge=1,
        le=100,
        description="Rows of 24 hours that are fewer than expected by more than this make the check `volume` warn",
    )
    volume_rise_percent: int = Field(
        default=80,
        ge=1,
        description="Rows of 24 hours that are more than expected by more than this make the check `volume` warn",
    )
    period_move_percent: int = Field(
        default=30,
        ge=1,
        description="A figure that moves by more than this from a day, a week or a month before makes the check "
        "`period_over_period` warn",
    )
    keep_run_days: int = Field(
        default=90,
        ge=1,
        description="Days for which Dagster's records of runs are kept where run_records_schedule is on",
    )
    bands: Annotated[tuple[Decimal, ...], NoDecode, CommaSeparated] = Field(
        default=(Decimal("7.0"), Decimal("7.5"), Decimal("8.0")),
        description="Target bands of the benchmarks (G5.2)",
    )
    starting_skills: Annotated[tuple[Decimal, ...], NoDecode, CommaSeparated] = Field(
        default=(Decimal("5.0"), Decimal("5.5"), Decimal("6.0"), Decimal("6.5")),
        description="Starting skills of the benchmarks, each the lower end of half a band (G5.1, G5.2)",
    )
    benchmark_days: int = Field(
        default=90,
        ge=1,
        le=366,
        description="Last day of the journey that has a benchmark, counted from 1 (G5.2)",
    )
    success_percentiles: Annotated[tuple[int, ...], NoDecode, CommaSeparated] = Field(
        default=(10, 25, 50),
        description="Top percentages of the achievers that a benchmark is given for (G5.2, G5.3)",
    )
    min_sample: int = Field(
        default=50,
        ge=1,
        description="Achievers that a benchmark row needs; a row with fewer does not exist (G5.3)",
    )
    streak_thresholds: Annotated[tuple[int, ...], NoDecode, CommaSeparated] = Field(
        default=(3, 5, 7, 14, 30),
        description="Days that the longest streak is compared with in ghost_streak_shares (G6)",
    )
    benchmark_move_percent: int = Field(
        default=20,
        ge=1,
        description="A published benchmark that moves by more than this from month to month makes a check warn",
    )
    shards: int = Field(
        default=2,
        ge=1,
        le=256,
        description="Parts of the users in which a month is computed: more parts, less memory, the same bytes",
    )
    release_min_members: int = Field(
        default=10,
        ge=3,
        description="Active members that a cohort needs before anything of it is released (G9.1)",
    )
    release_min_members_percentiles: int = Field(
        default=20,
        ge=3,
        description="Active members that a cohort needs before its P75 and P90 are released (G9.1)",
    )
    release_max_share_percent: int = Field(
        default=90,
        ge=1,
        le=100,
        description="Most that the two largest members may hold of a cohort's sum (G9.2)",
    )
    release_min_changed: int = Field(
        default=4,
        ge=1,
        description="Members whose contribution to a figure must have changed before a new version of it, unless none "
        "has: three, and one that may be the reader's own account (G9.3, G9.6)",
    )
    release_compared_hours: int = Field(
        default=168,
        ge=1,
        le=31 * 24,
        description="Besides with the last release, a new one is compared with every release of so many hours (G9.6)",
    )
    release_profile: Literal["standard", "strict"] = Field(
        default="standard",
        description="strict: averages are released as whole numbers and the number of members in fives (G9.6)",
    )
    release_max_age_hours: int = Field(
        default=48,
        ge=1,
        description="A release older than this, by the as_of of the answer, is not used (G7.7)",
    )
    benchmark_max_age_days: int = Field(
        default=62,
        ge=1,
        description="Figures of a month older than this, by the as_of of the answer, are not used (G7.7)",
    )
    benchmark_delay_hours: int = Field(
        default=24,
        ge=0,
        description="A month serves answers whose as_of is at least so long after its end (G5.5)",
    )
    default_target_band: Decimal = Field(
        default=Decimal("7.5"),
        ge=0,
        le=MAX_SCORE,
        decimal_places=1,
        description="Band that a user without a target band is compared with (G8)",
    )
    export_messages: bool = Field(
        default=True,
        description="Whether every hour writes ghost_messages, the export of all users' messages (G7.6)",
    )
    token_key: SecretStr | None = Field(
        default=None,
        description="Key of the signed tokens (HS256) that callers of the HTTP API show; without it the server "
        "listens on loopback only and asks for none",
    )
    erasure_key: SecretStr | None = Field(
        default=None,
        description="Key of the tombstones of people who were erased: whoever has it can tell whether an id was. The "
        "same for ever, and never in the data folder",
    )
    erasure_key_file: Path | None = Field(
        default=None,
        description="File that holds that key, outside the data folder, in place of GHOST_ERASURE_KEY",
    )
    erasure_rebuilds: Literal["nothing", "months", "everything"] = Field(
        default="months",
        description="What an erasure computes again: nothing; the months in which the person may have counted as an "
        "achiever; everything: also marks every hour as stale that shows the person's share, for a backfill",
    )
    decay_factor: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Weight of a measurement that is one day older than the newest one (N2.1)",
    )
    max_measurements: int = Field(
        default=20,
        ge=1,
        description="Newest measurements of an n-gram that its average takes (N2.1)",
    )
    max_sessions: int = Field(
        default=100,
        ge=1,
        description="Newest sessions of a user on a keyboard that a summary covers (N3.1)",
    )
    max_ngram_size: int = Field(
        default=MAX_NGRAM_SIZE,
        ge=1,
        le=MAX_NGRAM_SIZE,
        description="Longest n-gram that is extracted from keystrokes (N5.2)",
    )
    default_target_ms: float = Field(
        default=600.0,
        ge=50,
        le=5000,
        description="Target in ms per keystroke where the keyboard names none (N3.2)",
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
            raise SettingsError(f"settings: {faults}. `ghost-pipeline settings` lists them all") from error

    @field_validator("bands", "starting_skills")
    @classmethod
    def _check_scores(cls, values: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        for value in values:
            if not 0 <= value <= MAX_SCORE or value != round(value, 1):
                raise ValueError(f"{value} is not a band from 0.0 to 9.0 with one decimal")
        return _ascending(values)

    @field_validator("success_percentiles")
    @classmethod
    def _check_percentiles(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        for value in values:
            if not 0 < value < 100:  # noqa: PLR2004 - percent
                raise ValueError(f"{value} is not between 1 and 99")
        return _ascending(values)

    @field_validator("streak_thresholds")
    @classmethod
    def _check_thresholds(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        for value in values:
            if value < 1:
                raise ValueError(f"{value} is not a number of days")
        return _ascending(values)

    @field_validator("token_key", "erasure_key")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value) < MIN_KEY_LENGTH:
            raise ValueError(f"has {len(value)} characters; a key needs {MIN_KEY_LENGTH} or more")
        return value

    @field_validator("publish_postgres")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None and not POSTGRES_ADDRESS.fullmatch(value):
            raise ValueError(f"is no address of PostgreSQL. {MALFORMED_POSTGRES_ADDRESS}")
        return value

    @field_validator("partitions_start")
    @classmethod
    def _check_start(cls, value: datetime) -> datetime:
        value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        if value != value.replace(day=1, hour=0, minute=0, second=0, microsecond=0):
            raise ValueError("has to be the first instant of a UTC month, such as 2024-01-01")
        return value

    @model_validator(mode="after")
    def _check_erasure_key_file(self) -> Self:
        if self.erasure_key_file is None:
            return self
        if self.erasure_key is not None:
            raise ValueError("GHOST_ERASURE_KEY_FILE: set beside GHOST_ERASURE_KEY; the key has one place")
        folders = [self.local, *([self.data] if isinstance(self.data, Path) else [])]
        if any(self.erasure_key_file.resolve().is_relative_to(folder.resolve()) for folder in folders):
            raise ValueError(
                "GHOST_ERASURE_KEY_FILE: lies in the data folder, and whoever copies that could try every id. Move it"
            )
        return self

    @field_serializer("source", "publish_postgres", when_used="json-unless-none")
    def _show_source(self, value: str) -> str:
        return shown_source(value)

    @field_serializer("data", when_used="json")
    def _show_data(self, value: Path | ObjectAddress) -> str:
        return str(value)

    @field_serializer("retention", when_used="json")
    def _show_retention(self, value: dict[str, timedelta | None]) -> str:
        return ",".join(f"{table}={shown_length(kept)}" for table, kept in value.items())

    @property
    def local(self) -> Path:
        """Folder of this machine for what cannot lie in a bucket."""
        if self.work is not None:
            return self.work
        return self.data if isinstance(self.data, Path) else Path("data", "s3", self.data.bucket, self.data.key)

    @property
    def place(self) -> Location:
        """Where the lake and what is published lie."""
        return self.data if isinstance(self.data, Path) else Mirrored(self.data, self.local)

    @property
    def lake(self) -> Location:
        """Root of the lake."""
        return self.place / "lake"

    @property
    def database(self) -> Location:
        """The published DuckDB file."""
        return self.place / "ghost.duckdb"

    @property
    def benchmark_dictionary(self) -> Location:
        """The published nested form of the benchmarks (G5.4)."""
        return self.place / "ghost_benchmarks.json"

    @property
    def dagster_home(self) -> Path:
        """Dagster's run and event records, unless `DAGSTER_HOME` names another folder."""
        return self.local / "dagster_home"


def shown_source(location: str) -> str:
    """A source's location as it may be shown: without a password, and of an address that is malformed nothing at all.

    A password may stand before the host or among the parameters; one with a bare `@` or `/` may look like a host.
    """
    scheme, is_address, _ = location.partition("://")
    if not is_address or scheme == "sqlite":
        return location
    parts = POSTGRES_ADDRESS.fullmatch(location)
    if parts is None:
        return f"{scheme}://…"
    user, password, hosts, database, parameters = parts.groups()
    credentials = "" if user is None else f"{user}{':***' if password else ''}@"
    return f"{scheme}://{credentials}{hosts}/{database or ''}{'?…' if parameters else ''}"


def shown_length(kept: timedelta | None) -> str:
    """A length of time as it is written in a setting: `36h`, `90d`, `forever`."""
    if kept is None:
        return "forever"
    hours = kept // _UNITS["h"]
    return f"{hours}h" if hours % 24 else f"{hours // 24}d"


def _fault(fault: ErrorDetails) -> str:
    if not fault["loc"]:
        # What contradicts another setting names both by itself.
        return str(fault["ctx"]["error"])
    name = str(fault["loc"][0])
    # A key that is too short is a key all the same, and an address may have one before its host.
    got = "" if name in SECRET or "@" in str(fault["input"]) else f" (got {fault['input']!r})"
    return f"GHOST_{name.upper()}: {fault['msg']}{got}"


def _ascending(values: tuple[Score, ...]) -> tuple[Score, ...]:
    if not values:
        raise ValueError("at least one value is needed")
    if len(set(values)) != len(values):
        raise ValueError("a value stands twice")
    return tuple(sorted(values))
