"""Commands that answer from the published database: about learners, about typists, and the server itself.

A command has the name of the method of `GhostReader` that answers, with - for _, and its options have the names of the
method's parameters.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ghost_pipeline.cli.listening import listen
from ghost_pipeline.cli.logs import configure_logs
from ghost_pipeline.cli.parameters import (
    OneOf,
    Text,
    Whole,
    as_of_option,
    bases,
    contexts,
    json_option,
    keyboard_argument,
    keys_option,
    metrics,
    n_option,
    populations,
    sizes_option,
    sort_orders,
    target_option,
    user_argument,
    with_own,
)
from ghost_pipeline.cli.suggestions import with_near_ids
from ghost_pipeline.settings import Settings

if TYPE_CHECKING:
    import polars as pl

_WHY_NO_RANK = {
    "cohort": "the user was in no cohort when figures were last released, or they are withheld or too old",
    "global": "there is no hour of the day before, or it has fewer than GHOST_RANK_MIN_USERS users or not this one",
}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@click.command("ghost-data")
@user_argument
@as_of_option
@click.option(
    "--extended", is_flag=True, help="Add the age of every figure (as_of), and whether the cohort is withheld."
)
@json_option
@with_near_ids
def ghost_data(user_id: str, as_of: datetime | None, *, extended: bool, as_json: bool) -> None:
    """Peer comparison for a user, as the HTTP API returns it."""
    reader = _reader()
    full = reader.ghost_data(user_id, as_of, extended=True)
    _warn_if_older(as_of, full.as_of)
    answer = full if extended else reader.ghost_data(user_id, as_of)
    # Figures are JSON in any case; --json only drops the line breaks.
    click.echo(answer.model_dump_json(indent=None if as_json else 2))


@click.command()
@user_argument
@click.option("--context", type=OneOf("context", contexts), required=True, help="Where the messages are shown.")
@as_of_option
@with_own
@json_option
@with_near_ids
def messages(user_id: str, context: str, as_of: datetime | None, *, as_json: bool, **own: float | None) -> None:
    """Messages for a user in a context."""
    given = {name: value for name, value in own.items() if value is not None}
    answer = _reader().messages(user_id, context, as_of, given)
    _warn_if_older(as_of, answer.as_of)
    if as_json:
        click.echo(answer.model_dump_json())
    elif not answer.messages:
        click.echo("No message applies to this user in this context.", err=True)
    else:
        for message in answer.messages:
            click.echo(message.text)


@click.command()
@user_argument
@click.argument("metric", type=OneOf("metric", metrics))
@click.option(
    "--base",
    type=OneOf("base", bases),
    default="cohort",
    show_default=True,
    help="Compare with the user's cohort, or with all users.",
)
@as_of_option
@json_option
@with_near_ids
def percentile(user_id: str, metric: str, base: str, as_of: datetime | None, *, as_json: bool) -> None:
    """Percentage of the cohort (or of all users) ranked below a user."""
    answer = _reader().percentile(user_id, metric, base, as_of)
    _warn_if_older(as_of, answer.as_of)
    if as_json:
        click.echo(answer.model_dump_json())
    elif answer.percentile is None:
        click.echo(f"No percentile: {_WHY_NO_RANK[base]}.", err=True)
    else:
        click.echo(answer.percentile)


@click.command()
@click.option(
    "--population",
    type=OneOf("population", populations),
    default="interval",
    show_default=True,
    help="Who reached that band.",
)
@click.option("--target-band", type=float, help="Only this band.")
@click.option("--starting-skill", type=float, help="Only this diagnostic score.")
@click.option("--day-number", type=Whole(), help="Only this day of the journey.")
@click.option(
    "--success-percentile", type=Whole(), help="Only the top percent of achievers of this many: 10, 25 or 50."
)
@json_option
def benchmarks(*, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Benchmarks of the newest month that serves answers."""
    from ghost_pipeline.serving.responses import BenchmarkRow

    rows = _reader().benchmarks(**options).select(*BenchmarkRow.model_fields)
    _show(rows, as_json=as_json, nothing="no benchmark passes the filters")


@click.command()
@user_argument
@json_option
@with_near_ids
def keyboards(user_id: str, *, as_json: bool) -> None:
    """Keyboards that a user has practised on, the most practised first."""
    reader = _reader()
    _show(
        _known(reader, reader.keyboards(user_id), user_id),
        as_json=as_json,
        nothing="no n-gram of that user is measured",
    )


@click.command()
@user_argument
@keyboard_argument
@target_option
# The second name is that of earlier releases.
@click.option(
    "--ngram-size-filter", "--ngram-size", "ngram_size_filter", type=int, help="Only n-grams of this size, 1 to 20."
)
@click.option("--exclude-successful", is_flag=True, help="Hide n-grams that meet the target.")
@click.option(
    "--sort-order", type=OneOf("order", sort_orders), default="worst_to_best", show_default=True, help="Order of rows."
)
@json_option
@with_near_ids
def heatmap(user_id: str, keyboard_id: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Speed of each n-gram against the target, in colours."""
    from ghost_pipeline.cli.render import as_heat_map

    reader = _reader()
    rows = reader.heatmap(user_id, keyboard_id, **options)
    _show(_known(reader, rows, user_id, keyboard_id), as_json=as_json, shown=as_heat_map)


@click.command()
@user_argument
@keyboard_argument
@n_option
@sizes_option
@keys_option
@click.option(
    "--min-occurrences", type=Whole(), default=5, show_default=True, help="Only n-grams measured at least this often."
)
@click.option("--focus-on-speed-target", is_flag=True, help="Only n-grams that miss the target.")
@json_option
@with_near_ids
def slowest(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Slowest n-grams of a user on a keyboard."""
    reader = _reader()
    rows = reader.slowest(user_id, keyboard_id, n, **options)
    _show(_known(reader, rows, user_id, keyboard_id), as_json=as_json)


@click.command()
@user_argument
@keyboard_argument
@n_option
@sizes_option
@keys_option
@click.option(
    "--lookback-distance",
    type=Whole(),
    default=1000,
    show_default=True,
    help="Count errors of this many newest sessions.",
)
@json_option
@with_near_ids
def errors(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Most often mistyped n-grams of a user on a keyboard."""
    reader = _reader()
    rows = reader.errors(user_id, keyboard_id, n, **options)
    _show(_known(reader, rows, user_id, keyboard_id), as_json=as_json)


@click.command()
@user_argument
@keyboard_argument
@click.argument("ngram_text", required=False, type=Text())
@n_option
@json_option
@with_near_ids
def trend(user_id: str, keyboard_id: str, ngram_text: str | None, n: int, *, as_json: bool) -> None:
    """Hourly history of one n-gram, or the biggest changes.

    Without NGRAM_TEXT, the biggest changes between the two latest states of the keyboard.
    """
    reader = _reader()
    if ngram_text is None:
        rows = _known(reader, reader.biggest_changes(user_id, keyboard_id, n), user_id, keyboard_id)
        _show(rows, as_json=as_json, nothing="the history does not have two states of that keyboard yet")
    else:
        rows = _known(reader, reader.trend(user_id, keyboard_id, ngram_text), user_id, keyboard_id)
        _show(rows, as_json=as_json, nothing="the history does not contain that n-gram on that keyboard")


@click.command()
@user_argument
@keyboard_argument
@n_option
@click.option(
    "--n-sessions", type=Whole(), default=20, show_default=True, help="Count misses of this many newest sessions."
)
@target_option
@json_option
@with_near_ids
def progress(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Misses of the newest sessions, biggest changes, costliest n-grams and mistakes."""
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.serving.json_rows import as_json_rows

    reader = _reader()
    parts = reader.progress(user_id, keyboard_id, n, **options)._asdict()
    if all(rows.is_empty() for rows in parts.values()):
        reader.require_typist(user_id, keyboard_id)
    if as_json:
        texts = (f'"{name}": {as_json_rows(rows)}' for name, rows in parts.items())
        click.echo(f"{{{', '.join(texts)}}}")
        return
    titles = {"rows": "n-grams that missed the target, by session"}
    for name, rows in parts.items():
        click.echo(f"{titles.get(name, name.replace('_', ' '))}:")
        click.echo(as_table(rows) if rows.height else "none")
        click.echo()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)
def serve(host: str, port: int) -> None:
    """Serve the HTTP API and the web page."""
    from ghost_pipeline.lake.lake import Lake
    from ghost_pipeline.lake.layout import OlderLayoutError
    from ghost_pipeline.serving.app import build_app
    from ghost_pipeline.serving.server import build_server

    settings = Settings.load()
    lake = Lake(settings.lake)
    try:
        # A newer release may have published what this one would misread; an older one has not.
        if not lake.root.exists() or os.access(lake.root, os.R_OK | os.X_OK):
            lake.require_current()
        # Otherwise this user may read only what is published, which is all that is needed.
    except OlderLayoutError as error:
        click.echo(f"{error}. Answers come from what that release has published", err=True)
    if settings.token_key is None:
        if host not in LOOPBACK:
            raise click.UsageError(
                f"--host {host} needs GHOST_TOKEN_KEY: without a key the server does not authenticate callers, so it "
                f"listens on loopback only"
            )
        click.echo("No GHOST_TOKEN_KEY: listening on loopback only, without asking for tokens.", err=True)
    with listen("serve", host, port) as listening:
        bound = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        click.echo(f"Web page on {bound}/, API description on {bound}/openapi.json", err=True)
        configure_logs(settings.log)
        server = build_server(build_app(settings), log_config=None)
        # uvicorn re-raises the interrupt after an orderly shutdown.
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _of_earlier_releases(command: click.Command, name: str) -> click.Command:
    hidden = copy(command)
    hidden.name, hidden.hidden = name, True
    return hidden


COMMANDS = (
    ghost_data,
    messages,
    percentile,
    benchmarks,
    keyboards,
    heatmap,
    slowest,
    errors,
    trend,
    progress,
    serve,
    _of_earlier_releases(ghost_data, "ghost"),
)


def _warn_if_older(asked: datetime | None, as_of: datetime) -> None:
    """Note on stderr that the answer is of an earlier hour: readers use the newest hour there is (G1.9)."""
    if asked is not None and as_of != asked:
        click.echo(
            f"As of {as_of:%Y-%m-%dT%H:%MZ}: the newest hour of the lake at or before {asked:%Y-%m-%dT%H:%MZ}.",
            err=True,
        )


def _reader() -> Any:  # noqa: ANN401 - imported only by the commands that answer
    from ghost_pipeline.serving import GhostReader

    return GhostReader()


def _known(reader: Any, rows: "pl.DataFrame", user_id: str, keyboard_id: str | None = None) -> "pl.DataFrame":  # noqa: ANN401 - see `_reader`
    """The rows, unless there are none because the user or the keyboard is unknown."""
    if rows.is_empty():
        reader.require_typist(user_id, keyboard_id)
    return rows


def _show(
    rows: "pl.DataFrame",
    *,
    as_json: bool,
    shown: "Callable[[pl.DataFrame], str] | None" = None,
    nothing: str = "no n-gram is measured there, or none passes the filters",
) -> None:
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.serving.json_rows import as_json_rows

    if as_json:
        click.echo(as_json_rows(rows))
    elif not rows.height:
        click.echo(f"No rows: {nothing}.", err=True)
    else:
        click.echo((shown or as_table)(rows))
