"""Runs `ghost-pipeline` as installed, once a file is there: processes that wait for the same one begin together."""

import sys
import time
from pathlib import Path

import dagster as dg  # noqa: F401 - what takes longest is imported before the wait

from ghost_pipeline.cli import run  # noqa: F401 - the same
from ghost_pipeline.cli.main import main


def start_when(signal: Path, ready: Path, arguments: list[str]) -> None:
    """Say that it is ready, wait for the signal, and run the command."""
    ready.touch()
    while not signal.exists():
        time.sleep(0.001)
    main(arguments, prog_name="ghost-pipeline")


if __name__ == "__main__":
    start_when(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
