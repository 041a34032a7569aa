"""The benchmarks of a month: counted shard by shard, compared with what months show, and kept (G5, G9.7)."""

from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal

import numpy as np
import polars as pl

from ghost_pipeline.contracts.kept_months import BENCHMARK_ACHIEVERS, BENCHMARK_DIARIES
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS, MONTHLY_FIGURES
from ghost_pipeline.defs.month_renewal import Renewal, shown_rows
from ghost_pipeline.defs.resources import RunContext
from ghost_pipeline.domain.ghost.benchmarks.achiever_practice import (
    Practice,
    achiever_practice,
    diaries_of,
    kept_practice,
)
from ghost_pipeline.domain.ghost.benchmarks.achievers import block_edge
from ghost_pipeline.domain.ghost.benchmarks.benchmark_changes import (
    Differences,
    benchmark_differences,
    changed_people,
    practice_of,
)
from ghost_pipeline.domain.ghost.benchmarks.benchmark_counts import POPULATIONS, Cell, benchmark_cells, benchmark_counts
from ghost_pipeline.domain.ghost.benchmarks.ghost_benchmarks import (
    RENEWED_TOGETHER,
    benchmark_means,
    finish_benchmarks,
)
from ghost_pipeline.domain.ghost.benchmarks.month_rules import MonthRules
from ghost_pipeline.domain.ghost.benchmarks.renewal import KeptMonth, Key
from ghost_pipeline.domain.ghost.benchmarks.shards import numbered
from ghost_pipeline.incremental.achiever_events import AchieverEvents
from ghost_pipeline.incremental.kept_months import (
    keep_diaries,
    kept_diaries,
    known_diaries,
    write_kept_month,
)
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.windows import Month


@dataclass
class BenchmarkMonth:
    """The people of now and their counts, and how they differ from each state that a month shows."""

    lake: Lake
    month: Month
    rules: MonthRules
    shards: int
    renewal: Renewal
    counts: pl.DataFrame = field(default_factory=pl.DataFrame)
    """Counts of the shards one below the other."""
    _people: list[pl.DataFrame] = field(default_factory=list)
    _new_diaries: list[pl.DataFrame] = field(default_factory=list)
    _differences: dict[tuple[int, int], Differences] = field(default_factory=dict)
    """By the position of a month among the references and the number of a state."""

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return benchmark_cells(self.rules.bands, self.rules.starting_skills, POPULATIONS)

    def count(self, achieving: AchieverEvents) -> None:
        """Count the achievers and compare them with the states that are shown, shard by shard."""
        rules, known = self.rules, known_diaries(self.lake)
        bands, starts, days = rules.bands, rules.starting_skills, rules.benchmark_days
        kept = [
            (place, state, keys, numbered_shards(one.of_state(state), self.shards))
            for place, one in enumerate(self.renewal.references())
            for state, keys in one.states().items()
        ]
        counts = []
        for shard, (users, progress) in enumerate(achieving.shards(GHOST_BENCHMARKS, MONTHLY_FIGURES)):
            practice = achiever_practice(users, progress, self.month.as_of, bands=bands, starts=starts, days=days)
            practice = Practice(achieving.named(practice.people), practice.entries)
            counts.append(benchmark_counts(practice, bands=bands, starts=starts, days=days))
            self._people.append(practice.people)
            new = practice.people.filter(~pl.col("diary").is_in(known.implode()))
            self._new_diaries.append(diaries_of(practice, new["diary"]))
            for place, state, keys, by_shard in kept:
                found = self._compared(by_shard.filter(pl.col("shard") == shard).drop("shard"), practice, keys)
                so_far = self._differences.get((place, state))
                self._differences[place, state] = so_far.plus(found) if so_far else found
        # Concatenated, not merged: readers add the counts up, and merging 43 M rows takes 4 GB.
        self.counts = pl.concat(counts, rechunk=False)

    def _compared(self, before: pl.DataFrame, now: Practice, keys: Collection[Key]) -> Differences:
        rules = self.rules
        wanted = {number for number, cell in enumerate(self.cells) if any(key[:3] == _name(cell) for key in keys)}
        left, joined = changed_people(before, self._among(now.people, keys))
        return benchmark_differences(
            kept_practice(left, kept_diaries(self.lake, left)),
            practice_of(now, joined),
            self.cells,
            wanted,
            bands=rules.bands,
            starts=rules.starting_skills,
            days=rules.benchmark_days,
        )

    def shown(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the rows of `ghost_benchmarks` and the means that the month shows; decides it, and keeps nothing."""
        people = pl.concat(self._people).sort("user_id")
        now = self._rows(self.counts)
        self._kept, shown = self.renewal.choose(now[0], people, self._allowed, self._among)

        def of_state(state: int) -> tuple[pl.DataFrame, pl.DataFrame]:
            if state == self._kept.newest:
                return now
            of = self._kept.of_state(state)
            practice = kept_practice(of, kept_diaries(self.lake, of))
            rules = self.rules
            return self._rows(
                benchmark_counts(practice, bands=rules.bands, starts=rules.starting_skills, days=rules.benchmark_days)
            )

        found = shown_rows(self._kept, RENEWED_TOGETHER, shown, of_state)
        if not found:
            return now[0].clear(), now[1].clear()
        return found[0].sort(GHOST_BENCHMARKS.primary_key), found[1].sort(RENEWED_TOGETHER, maintain_order=True)

    def keep(self) -> None:
        """Write what is kept of the month; its diaries first, for the people name them."""
        named = self._kept.people.select("diary").unique()
        new = pl.concat([BENCHMARK_DIARIES.empty(), *self._new_diaries]).unique("diary", keep="first")
        new = new.join(named, on="diary", how="semi")
        keep_diaries(self.lake, self.month, new)
        write_kept_month(self.lake, BENCHMARK_ACHIEVERS, self.month, self._kept)
        # What only the replaced people named goes.
        keep_diaries(self.lake, self.month, new.clear())

    def _allowed(self, kept: KeptMonth, state: int, keys: set[Key]) -> set[Key]:
        place = next(number for number, one in enumerate(self.renewal.references()) if one is kept)
        differences, rules = self._differences[place, state], self.rules
        allowed = differences.allow_renewal(self.cells, rules.release_min_changed, rules.release_max_share_percent)
        # A cell or a day that the settings no longer have is not shown, so nothing is compared.
        return keys & {
            (*_name(cell), day + 1)
            for number, cell in enumerate(self.cells)
            for day in np.flatnonzero(allowed[number]).tolist()
        }

    def _rows(self, counts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        rules = self.rules
        bands, starts, size = rules.bands, rules.starting_skills, rules.min_sample
        benchmarks = finish_benchmarks(
            counts, self.month.as_of, bands=bands, starts=starts, percentiles=rules.success_percentiles, min_sample=size
        ).collect()
        means = benchmark_means(
            counts, bands=bands, starts=starts, min_sample=size, max_share_percent=rules.release_max_share_percent
        )
        return benchmarks, means.collect()

    def _among(self, people: pl.DataFrame, keys: Collection[Key]) -> pl.DataFrame:
        """Return the people of the cells of some rows."""
        names = {key[:3] for key in keys}
        bands, starts = self.rules.bands, self.rules.starting_skills
        inside = [
            pl.col("_final").is_in(cell.final_tenths) & pl.col("_start").is_in(cell.start_tenths)
            for cell in self.cells
            if _name(cell) in names
        ]
        return (
            people.with_columns(
                _final=block_edge("final_band_score", bands), _start=block_edge("diagnostic_score", starts)
            )
            .filter(pl.any_horizontal(inside) if inside else pl.lit(value=False))
            .drop("_final", "_start")
        )


def benchmark_month(run: RunContext, month: Month, achieving: AchieverEvents) -> BenchmarkMonth:
    """Return a month whose achievers have been counted."""
    renewal = Renewal.of(run.lake, BENCHMARK_ACHIEVERS, month, RENEWED_TOGETHER)
    found = BenchmarkMonth(run.lake, month, MonthRules.of(run.settings), run.settings.shards, renewal)
    found.count(achieving)
    return found


def numbered_shards(people: pl.DataFrame, shards: int) -> pl.DataFrame:
    """Return people with their shard, as `AchieverEvents` assigns it."""
    return people.join(numbered(people["user_id"], shards).select("user_id", "shard"), on="user_id")


def _name(cell: Cell) -> tuple[str, str, str]:
    return cell.population, _text(cell.target_band), _text(cell.starting_skill)


def _text(band: Decimal) -> str:
    return f"{band:.1f}"
