"""Settings of places: where data come from and go to, and where the state of the pipeline is told."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, SecretStr, field_serializer, field_validator

from ghost_pipeline.locations import (
    MALFORMED_POSTGRES_ADDRESS,
    POSTGRES_ADDRESS,
    Location,
    Mirrored,
    ObjectAddress,
    parse_data_location,
    shown_source,
)


class PlaceSettings(BaseModel):
    """The part of `Settings` that names places."""

    source: str | None = Field(
        default=None,
        repr=False,
        description="Source of the canonical tables: a folder or s3://bucket/prefix of Parquet, CSV or NDJSON files, "
        "postgresql://user:password@host:port/database, mysql://..., sqlite:///file or duckdb:///file",
    )
    source_mapping: Path | None = Field(
        default=None,
        description="YAML file that maps the source's own tables, columns or queries to the canonical ones",
    )
    data: Annotated[Path | ObjectAddress, BeforeValidator(parse_data_location)] = Field(
        default=Path("data"),
        description="Folder for everything the pipeline writes: the lake, ghost.duckdb, Dagster's records; or "
        "s3://bucket/prefix for the lake and the publication, with credentials and endpoint in AWS_* variables",
    )
    work: Path | None = Field(
        default=None,
        description="Local folder for files that cannot be kept in a bucket: Dagster's records, locks, caches, "
        "copies of objects, the demo's source. Default: GHOST_DATA if that is a folder, otherwise "
        "data/s3/bucket/prefix",
    )
    publish_postgres: str | None = Field(
        default=None,
        repr=False,
        description="PostgreSQL database in which every publication also replaces the specification's tables: "
        "postgresql://user:password@host:port/database",
    )
    owner: str = Field(
        default="team:data-platform",
        pattern=r"^(team:[\w./-]+|[^@\s]+@[^@\s]+)$",
        description="Who answers for the tables, in Dagster and in exported contracts: team:name or an e-mail address",
    )
    log: Literal["text", "json"] = Field(
        default="text", description="Form of what `serve` logs on standard error: text, or one JSON object a line"
    )
    metrics_file: Path | None = Field(
        default=None,
        description="File that Dagster's sensor `alerts` and `ghost-pipeline metrics` write figures to, for the "
        "text-file collector of Prometheus's node exporter; its name ends with .prom",
    )
    alert_urls: SecretStr | None = Field(
        default=None,
        description="Where alerts are sent, as addresses of Apprise separated by spaces: json://host/path (a webhook), "
        "mailtos://user:password@host?to=..., slack://... and many more",
    )
    alert_pause_minutes: int = Field(
        default=10,
        ge=0,
        description="Shortest time between two alerts of one kind; what happens meanwhile is in the next one",
    )
    alert_rejected_rows: int = Field(
        default=100, ge=1, description="Rows that may be rejected in addition within a day before an alert is sent"
    )

    @field_validator("alert_urls")
    @classmethod
    def _check_alert_urls(cls, value: SecretStr | None) -> SecretStr | None:
        for position, address in enumerate(value.get_secret_value().split() if value else (), 1):
            if "://" not in address:
                raise ValueError(f"address {position} has no scheme, such as json:// or mailtos://")
        return value

    @field_validator("publish_postgres")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None and not POSTGRES_ADDRESS.fullmatch(value):
            raise ValueError(f"is not a PostgreSQL address. {MALFORMED_POSTGRES_ADDRESS}")
        return value

    @field_serializer("source", "publish_postgres", when_used="json-unless-none")
    def _show_source(self, value: str) -> str:
        return shown_source(value)

    @field_serializer("data", when_used="json")
    def _show_data(self, value: Path | ObjectAddress) -> str:
        return str(value)

    @property
    def local(self) -> Path:
        """Local folder for files that cannot be kept in a bucket."""
        if self.work is not None:
            return self.work
        return self.data if isinstance(self.data, Path) else Path("data", "s3", self.data.bucket, self.data.key)

    @property
    def place(self) -> Location:
        """Location of the lake and of the publication."""
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
    def dagster_home(self) -> Path:
        """Dagster's run and event records, unless `DAGSTER_HOME` names another folder."""
        return self.local / "dagster_home"
