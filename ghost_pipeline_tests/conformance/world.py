"""One case's source and lake: source files, the partitions that were run over them, and what is published of those.

Tables are computed by the functions of their assets, in the order of the definitions, without Dagster's records; other
tests show that they also run through Dagster. Erasures run as the command runs them.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ghost_pipeline.cli.erase import erase
from ghost_pipeline.cli.run import selection
from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.source import Domain
from ghost_pipeline.definitions import TABLE_ASSETS
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.json_files import DICTIONARY_FILE
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import Hour, Month
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.conformance.source_files import SourceFiles

Row = dict[str, Any]
DOMAINS = {"ghost": Domain.GHOST, "ngram": Domain.NGRAMS}
ERASURE_KEY = "a key of thirty-two characters or more"
ERASED_AT = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """The source, the lake and the publication of one case."""

    def __init__(self, folder: Path, case: Row, file_format: str) -> None:
        """Write the case's source into `folder`; nothing has run yet."""
        source = folder / "source"
        source.mkdir()
        self.domain = DOMAINS[case["area"]]
        self.source = SourceFiles(source, file_format, self.domain, case["tables"])
        self.settings = Settings.load(
            source=str(source),
            data=folder / "data",
            export_messages=False,
            erasure_key=ERASURE_KEY,
            **case.get("settings", {}),
        )
        self.lake = Lake(self.settings.lake)
        self.hours: set[Hour] = set()
        self.months: set[Month] = set()
        self.findings: dict[tuple[str, Hour | Month], Mapping[str, int]] = {}
        """What the asset of a table found in each partition, as its check `coverage` reports it."""
        self._reader = GhostReader(self.settings)
        self._published = False

    @property
    def newest(self) -> Hour:
        """The newest hour that was run: the one that is published."""
        return max(self.hours)

    def reader(self) -> GhostReader:
        """The reader, after the lake has been published as it is now."""
        if not self._published:
            publish(self.lake, self.settings.database)
            self._published = True
        return self._reader

    def change(self, kind: str, tables: Row) -> None:
        """Let rows come (`add`), change (`upsert`) or go (`remove`); users who go are erased as well."""
        {"add": self.source.add, "upsert": self.source.upsert, "remove": self.source.remove}[kind](tables)
        if kind == "remove" and (users := tables.get("users")):
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("DAGSTER_HOME", str(self.settings.local / "dagster"))
                erase(self.settings, users, ERASED_AT, even_if_unknown=True)

    def run(self, key: str) -> None:
        """Materialize an hour such as `2025-03-12-11:00` or a month such as `2025-02`."""
        if len(key) == len("2025-02"):
            self.run_month(Month.from_key(key))
        else:
            self.run_hour(Hour.from_key(key))

    def run_hour(self, hour: Hour) -> None:
        """Materialize an hour over the source as it is now."""
        self._compute(hour)
        self.hours.add(hour)

    def run_month(self, month: Month) -> None:
        """Materialize a month, after its last hour if no hour has read the source since the month ended."""
        last = Hour.ending_at(month.as_of)
        if not any(hour >= last for hour in self.hours):
            self.run_hour(last)
        self._compute(month)
        self.months.add(month)

    def require_hour(self, end: datetime) -> Hour:
        """The hour that ends at an instant, which is run if it has not been."""
        hour = Hour.ending_at(end)
        if hour not in self.hours:
            self.run_hour(hour)
        return hour

    def require_month(self, key: str) -> Month:
        """The month with a key, which is run if it has not been."""
        month = Month.from_key(key)
        if month not in self.months:
            self.run_month(month)
        return month

    def require_serving_month(self, end: datetime) -> None:
        """Run the newest month that may serve answers at an instant, unless a case has chosen its months."""
        if not self.months:
            self.run_month(Month.newest_complete(end - timedelta(hours=self.settings.benchmark_delay_hours)))

    def of_hour(self, contract: Contract, hour: Hour) -> pl.DataFrame:
        """The rows of a table of hours: of the newest hour as published, of others as they are in the lake."""
        if hour == self.newest and contract.published:
            return self.published(contract)
        return self.in_lake(contract, [hour])

    def published(self, contract: Contract) -> pl.DataFrame:
        """The rows of a published table."""
        return self.reader().publication().database.rows(contract)

    def in_lake(self, contract: Contract, hours: list[Hour] | None = None) -> pl.DataFrame:
        """The rows of some hours of a table, or of all its partitions."""
        return self.lake.scan(contract, hours).collect()

    def dictionary(self) -> Any:  # noqa: ANN401 - nested as the specification has it
        """The benchmarks as published in JSON."""
        self.reader()
        return json.loads((self.settings.local / DICTIONARY_FILE).read_text(encoding="utf-8"))

    def _compute(self, window: Hour | Month) -> None:
        self._published = False
        wanted = selection({self.domain}, monthly=isinstance(window, Month))
        context = RunContext.of(self.settings, self.lake)
        for asset in TABLE_ASSETS:
            if asset.contract.name in wanted:
                result = compute_one(asset.compute, context, window)
                self.findings[asset.contract.name, window] = result.findings
        context.source.close()
