"""Publications that carry a number in every part, so that an answer shows which publication each figure is from."""

import json
from datetime import timedelta
from pathlib import Path

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.contracts.ghost import COHORT_GHOST_RELEASE, USER_GHOST_STATS
from ghost_pipeline.contracts.months import GHOST_BENCHMARKS
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.domain.ghost.benchmarks.benchmark_dictionary import RECORDED_DICTIONARY
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.publish.database_query import query
from ghost_pipeline.publish.json_files import DICTIONARY_FILE
from ghost_pipeline.publish.publication_parts import differing_files
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.samples import HOUR, MONTH, sample

USER = "u00"
SQL = """
    SELECT tasks_completed, (SELECT avg_tasks_completed FROM ghost_benchmarks),
        (SELECT avg_tasks_completed FROM cohort_ghost_release), (SELECT sample_count FROM ngram_speed_summary_history)
    FROM user_ghost_stats WHERE user_id = 'u00'
"""
CELL = {"target_band": "7.5", "starting_skill": "6.0", "day_number": 12}


def write_number(settings: Settings, number: int) -> None:
    """Let every table of the lake carry a number."""
    lake = Lake(settings.lake)
    user = {"user_id": USER, "cohort_id": "c1", "cohort_excluded": False, "tasks_completed": number}
    user |= {"starting_skill": "6.0", "target_band": "7.5", "day_in_journey": 12, "as_of": HOUR.as_of}
    lake.write(USER_GHOST_STATS, HOUR, _row(USER_GHOST_STATS, user))
    release = {"cohort_id": "c1", "released": True, "suppressed_reason": None, "avg_tasks_completed": str(number)}
    release |= dict.fromkeys(("as_of", "released_as_of", "last_release_as_of"), HOUR.as_of)
    lake.write(COHORT_GHOST_RELEASE, HOUR, _row(COHORT_GHOST_RELEASE, release))
    nested = {"band_7.5_achievers": {"starting_skill_6.0": {"day_12": {"tasks_completed": number}}}}
    benchmark = {**CELL, "population": "interval", "success_percentile": 25, "avg_tasks_completed": number}
    benchmark |= {"month": MONTH.key, "as_of": MONTH.as_of}
    rows = _row(GHOST_BENCHMARKS, benchmark)
    lake.write(GHOST_BENCHMARKS, MONTH, rows, metadata={RECORDED_DICTIONARY: json.dumps(nested)})
    history = {"user_id": USER, "sample_count": number, "as_of": HOUR.as_of}
    lake.write(NGRAM_SPEED_SUMMARY_HISTORY, HOUR, _row(NGRAM_SPEED_SUMMARY_HISTORY, history))


def publish_number(settings: Settings, number: int) -> None:
    """Publish a number in every part.

    Raises:
        GhostError: it cannot be published; what was published stays.

    """
    write_number(settings, number)
    publish(Lake(settings.lake), settings.database)


def number_of(numbers: list[object]) -> int:
    """The number that all parts of an answer carry; an error if they are of several publications."""
    found = {int(str(one).removesuffix(".00")) for one in numbers}
    if len(found) != 1:
        raise AssertionError(f"of several publications: {numbers}")
    return found.pop()


def number_of_response(response: dict[str, dict[str, object]]) -> int:
    """The number of a response about a user, as Python or HTTP give it."""
    return number_of(
        [
            response["user_stats"]["tasks_completed"],
            response["success_benchmark"]["benchmark_tasks"],
            response["cohort_comparison"]["avg_tasks_completed"],
        ]
    )


def read_number(reader: GhostReader) -> int:
    """The number that a reader answers with, in several answers and in the JSON if that belongs to them."""
    pinned = reader.pinned()
    response = pinned.ghost_data(USER).model_dump()
    database = pinned.publication().database
    histories = database.rows(NGRAM_SPEED_SUMMARY_HISTORY)["sample_count"].to_list()
    numbers = [number_of_response(response), *histories]
    folder: Path = reader.settings.local
    before = differing_files(folder, database.name)
    nested = json.loads((folder / DICTIONARY_FILE).read_text(encoding="utf-8"))
    if not before and not differing_files(folder, database.name):
        numbers.append(nested["band_7.5_achievers"]["starting_skill_6.0"]["day_12"]["tasks_completed"])
    return number_of(numbers)


def query_number(settings: Settings) -> int:
    """The number that a query over all parts of the database gives."""
    (row,) = query(SQL, settings.database, Lake(settings.lake)).rows()
    return number_of(list(row))


def _row(contract: Contract, values: dict[str, object]) -> pl.DataFrame:
    frame = sample(contract, 1, 1)
    return frame.with_columns(pl.lit(value).cast(frame.schema[name]).alias(name) for name, value in values.items())


LATER = HOUR.as_of + timedelta(minutes=30)
"""When the publications are as fresh as their schedule promises."""
