"""Processes of a storm over one data folder: one asks, one meddles with `ghost.duckdb`, until they are told to stop."""

import json
import os
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from random import Random

import httpx

from ghost_pipeline.errors import GhostError
from ghost_pipeline.serving import GhostReader
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.crashes.meddling import LIES, MEDDLING, open_client, replace_by_a_folder
from ghost_pipeline_tests.crashes.numbered import USER, number_of_response, query_number, read_number

MODULE = "ghost_pipeline_tests.crashes.storm"
MEDDLES_PER_SECOND = 10
STAYING = 0.2
"""How often a client that opened the file stays for the meddling that follows."""


def ask_until(stop: Path, port: int) -> None:
    """Ask by Python, SQL and HTTP; print what was answered, and every answer that was not of one publication."""
    settings = Settings.load()
    reader, newest, counts = GhostReader(settings), 0, Counter[str]()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:

        def by_http() -> int:
            answer = client.get(f"/cohort/{USER}/ghost-data")
            health = client.get("/health?lenient=true")
            if {answer.status_code, health.status_code} != {200}:
                raise AssertionError(f"HTTP {answer.status_code}, {health.status_code}: {answer.text}")
            return number_of_response(answer.json())

        ways = {
            "open reader": lambda: read_number(reader),
            "new reader": lambda: read_number(GhostReader(settings)),
            "query": lambda: query_number(settings),
            "HTTP": by_http,
        }
        seen = dict.fromkeys(ways, 0)
        while not stop.exists():
            for way, ask in ways.items():
                try:
                    number = ask()
                except GhostError as error:
                    counts[f"{way}: one line"] += 1
                    _tell(f"line: {way}: {error}")
                    if "\n" in str(error):
                        _tell(f"fault: {way}: more than one line")
                except Exception as error:  # noqa: BLE001 - told to the test that reads the output
                    _tell(f"fault: {way}: {type(error).__name__}: {' '.join(str(error).split())}")
                else:
                    counts[way] += 1
                    newest = max(newest, number)
                    if number < seen[way]:
                        _tell(f"fault: {way}: went back from {seen[way]} to {number}")
                    seen[way] = number
    _tell(json.dumps({"newest": newest, **counts}))


def meddle_until(stop: Path, seed: str) -> None:
    """Do to the file what other clients do, drawn by seed; some stay open meanwhile."""
    database, chance, counts = Settings.load().local / "ghost.duckdb", Random(seed), Counter[str]()
    with ExitStack() as staying:
        while not stop.exists():
            time.sleep(chance.random() * 2 / MEDDLES_PER_SECOND)
            meddle = chance.choice(MEDDLING)
            try:
                if chance.random() < STAYING:
                    staying.close()
                    staying.enter_context(open_client(database, *LIES))
                    counts["stays"] += 1
                meddle(database)
                counts[meddle.__name__] += 1
                if meddle is replace_by_a_folder:
                    # While it is there, nothing can be published.
                    time.sleep(chance.random() / MEDDLES_PER_SECOND)
                    database.rmdir()
            except OSError:
                # A publication was faster.
                counts["too late"] += 1
    _tell(json.dumps(counts))


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    until, what, given = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.environ.pop("GHOST_SOURCE", None)
    ask_until(until, int(given)) if what == "ask" else meddle_until(until, given)
