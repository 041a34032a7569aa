"""The Dagster UI as a command: its pages in this process, its daemon in another."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from ghost_pipeline.cli.ask import LOOPBACK
from ghost_pipeline.locations import shown_source
from ghost_pipeline.settings import Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Listen on an address that other machines reach. The pages require no password: put a login in front of them.",
)
@click.option(
    "--server-name",
    "names",
    multiple=True,
    metavar="NAME",
    help="Host name under which browsers reach the pages, besides localhost; may be repeated.",
)
@click.option("--read-only", is_flag=True, help="Show everything and change nothing: no runs, no schedules turned on.")
@click.option("--no-daemon", is_flag=True, help="Only the pages; schedules and the queue run elsewhere.")
@click.option(
    "-w",
    "--workspace",
    type=click.Path(exists=True, dir_okay=False),
    help="Where the code is; by default workspace.yaml if there is one here, otherwise this package.",
)
def ui(
    host: str,
    port: int,
    names: Sequence[str],
    workspace: str | None,
    *,
    allow_remote: bool,
    read_only: bool,
    no_daemon: bool,
) -> None:
    """Start the Dagster UI, with its schedules and backfills.

    Pages of other sites cannot use it: requests must name this server as their host and come from its own pages.
    """
    if host not in LOOPBACK and not allow_remote:
        raise click.UsageError(
            f"--host {host} needs --allow-remote: everyone who reaches the pages may start and stop runs. Open "
            f"them through `ssh -L`, or put a proxy with a login in front of them"
        )
    from ghost_pipeline.cli.dagster_home import dagster_environment, records_if_any
    from ghost_pipeline.cli.listening import listen

    settings = Settings.load()
    # First: a second daemon beside that of the server which has the port would go on for minutes.
    listen("ui", host, port).close()
    from ghost_pipeline.defs.webserver import serve_pages

    os.environ.update(dagster_environment(settings))
    with records_if_any(settings):
        # A wrong dagster.yaml is one line here; each of Dagster's processes would print a hundred.
        pass
    here = workspace or ("workspace.yaml" if Path("workspace.yaml").exists() else None)
    code = ["-w", here] if here else ["-m", "ghost_pipeline.definitions"]
    source = shown_source(os.environ.get("GHOST_SOURCE", "none set"))
    click.echo(f"Dagster UI on http://{host}:{port} (source: {source})", err=True)
    changing = ["--read-only"] if read_only else []
    with _daemon([] if no_daemon else code):
        serve_pages([*code, "-h", host, "-p", str(port), *changing], names)


@contextmanager
def _daemon(code: Sequence[str]) -> Iterator[None]:
    """Run Dagster's daemon over the code, if any, and end it afterwards."""
    if not code:
        yield
        return
    # The command of `dagster dev`.
    process = subprocess.Popen([sys.executable, "-m", "dagster._daemon", "run", *code])  # noqa: S603 - our own arguments
    try:
        yield
    finally:
        process.terminate()
        process.wait()
