"""What all commands share: errors in one line, Ctrl-C, and questions."""

import sys
from typing import Any, NoReturn

import click

from ghost_pipeline.errors import GhostError

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal."""
_NAMES = frozenset({"DagsterExecutionInterruptedError", "InterruptException"})
"""Dagster's and DuckDB's errors of an interrupt: most commands import neither, and Dagster's is no Exception."""


class Commands(click.Group):
    """Turns the project's own errors and closed files into one line and exit code 1; others are defects and show.

    Ctrl-C gives one line and exit code 130.
    """

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        """Run a command to its end."""
        try:
            return super().invoke(ctx)
        except BaseException as error:
            if (
                isinstance(error, KeyboardInterrupt)
                or {type(one).__name__ for one in (error, error.__cause__)} & _NAMES
            ):
                _interrupted()
            if isinstance(error, GhostError):
                fail(str(error))
            if isinstance(error, PermissionError):
                fail(f"{error.filename or error}: {error.strerror or 'is closed'}. Run as a user who may open it")
            raise


def _interrupted() -> NoReturn:
    click.echo("ghost-pipeline: interrupted. Nothing is lost; run the same command again", err=True)
    sys.exit(INTERRUPTED)


def fail(message: str) -> NoReturn:
    """Print one line on stderr and exit with code 1."""
    click.echo(f"ghost-pipeline: {' '.join(message.split())}", err=True)
    sys.exit(1)


def confirm(question: str) -> None:
    """Go on after a yes; click takes Ctrl-C for a no."""
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    if not agreed:
        raise click.Abort
