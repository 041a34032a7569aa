"""Raw tables of a few typists in a lake, which a test changes between runs of the steps that follow from them."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES
from ghost_pipeline.contracts.raw import KEYBOARDS, PRACTICE_SESSIONS, SESSION_NGRAM_ERRORS, SESSION_NGRAM_SPEED
from ghost_pipeline.defs.ngram_summaries import (
    materialize_ngram_speed_summaries,
    materialize_ngram_speed_summary_history,
)
from ghost_pipeline.defs.ngrams import materialize_session_ngram_summary
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.defs.table_result import TableResult
from ghost_pipeline.domain.ngrams.ngram_speed_summaries import SummaryLimits
from ghost_pipeline.domain.shared.versions import keyboards_at
from ghost_pipeline.lake.cache import CACHE
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import HOUR, Hour, hours
from ghost_pipeline_tests.computing import compute_one
from ghost_pipeline_tests.reference.default_summaries import ngram_speed_summaries
from ghost_pipeline_tests.reference.plain_ngrams import (
    MIDNIGHT,
    Session,
    practice_sessions,
    session_ngram_errors,
    session_ngram_speed,
)


@dataclass
class Practice:
    """What a source would have delivered by now, and the lake that it is in."""

    folder: Path
    hours: int = 6
    """So many hours from midnight are in the lake."""
    sessions: dict[str, Session] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)
    targets: dict[tuple[str, datetime], float] = field(default_factory=dict)
    """By keyboard and the instant from which they count."""
    limits: SummaryLimits = field(
        default_factory=lambda: SummaryLimits(
            decay_factor=0.9, max_measurements=3, max_sessions=2, default_target_ms=600.0
        )
    )

    @property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(self.folder / "lake")

    @property
    def cache(self) -> Path:
        """The folder of what steps keep."""
        return self.lake.root / CACHE

    def add(self, *sessions: Session) -> None:
        """Add sessions, or replace those with the same id."""
        self.sessions |= {session.session_id: session for session in sessions}

    def run(self, number: int) -> TableResult:
        """Write the raw tables as they are now and run the steps of an hour; returns what the summaries' step says."""
        self.write()
        settings = Settings.load(data=self.folder, **self.limits)
        resources, hour = RunContext.of(settings, self.lake), self.hour(number)
        compute_one(materialize_session_ngram_summary, resources, hour)
        outcome = compute_one(materialize_ngram_speed_summaries, resources, hour)
        list(materialize_ngram_speed_summary_history(resources, [hour]))
        return outcome

    def write(self) -> None:
        """Write the raw tables; files of hours in which nothing has changed stay as they are."""
        sessions = practice_sessions(self.sessions.values()).collect()
        errors = {name: texts for name, texts in self.errors.items() if name in self.sessions}
        self._write(PRACTICE_SESSIONS, sessions)
        self._write(SESSION_NGRAM_SPEED, session_ngram_speed(self.sessions.values()).collect())
        self._write(SESSION_NGRAM_ERRORS, session_ngram_errors(errors).collect())
        versions = [(name, "u1", target, at, at) for (name, at), target in self.targets.items()]
        columns = ["keyboard_id", "user_id", "target_ms_per_keystroke", "valid_from", "seen_at"]
        schema = {name: KEYBOARDS.polars_schema[name] for name in columns}
        self.lake.write(KEYBOARDS, self.hour(0), _whole(KEYBOARDS, pl.DataFrame(versions, schema=schema, orient="row")))

    def hour(self, number: int) -> Hour:
        """An hour by its distance from midnight."""
        return Hour(MIDNIGHT + number * HOUR)

    def summaries(self, number: int) -> pl.DataFrame:
        """The summaries of an hour as they are in the lake."""
        return self.lake.scan(NGRAM_SPEED_SUMMARIES, [self.hour(number)]).collect()

    def from_scratch(self, number: int) -> pl.DataFrame:
        """The summaries of an hour as they follow from the raw tables."""
        as_of = self.hour(number).as_of
        return ngram_speed_summaries(
            self.lake.scan_until(PRACTICE_SESSIONS, as_of),
            self.lake.scan_until(SESSION_NGRAM_SPEED, as_of),
            keyboards_at(self.lake.scan(KEYBOARDS), as_of),
            as_of,
            **self.limits,
        ).collect()

    def _write(self, contract: Contract, rows: pl.DataFrame) -> None:
        started = {name: session.start.replace(minute=0) for name, session in self.sessions.items()}
        hour = rows["session_id"].replace_strict(started, return_dtype=pl.Datetime("us", "UTC"))
        window = hours(MIDNIGHT, MIDNIGHT + self.hours * HOUR)
        self.lake.write_hours(contract, window, _whole(contract, rows), hour)


def _whole(contract: Contract, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns that they lack as null."""
    return pl.concat([contract.empty(), rows], how="diagonal").select(*contract.polars_schema)
