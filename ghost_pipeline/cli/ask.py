"""Commands that answer from the published database: about learners, about typists, and the server itself.

A command has the name of the method of `GhostReader` that answers, with - for _, and its options have the names of the
method's parameters.
"""

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ghost_pipeline.errors import SettingsError, UnknownTimeError
from ghost_pipeline.settings import Settings
from ghost_pipeline.windows import parse_as_of

if TYPE_CHECKING:
    import polars as pl

_WHY_NO_RANK = {
    "cohort": "the user was in no cohort when figures were last released, or they are withheld or too old",
    "global": "there is no hour of the day before, or it has fewer than GHOST_RANK_MIN_USERS users or not this one",
}
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class AsOf(click.ParamType[datetime]):
    """The end of an hour, UTC."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse a time such as 2025-03-12T12:00Z."""
        try:
            return parse_as_of(value) if isinstance(value, str) else value
        except UnknownTimeError as error:
            self.fail(str(error), param, ctx)


class Text(click.ParamType[str]):
    """Text that can be encoded as UTF-8: a terminal may pass bytes that cannot."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value unchanged."""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is not UTF-8", param, ctx)
        return value


class _Sizes(click.ParamType[list[int]]):
    name = "sizes"

    def convert(self, value: str | list[int], param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        if isinstance(value, list):
            return value
        try:
            return [int(size) for size in value.split(",") if size.strip()]
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 2,3", param, ctx)


class _Whole(click.ParamType[int]):
    # click.IntRange would show its bounds in --help; these only keep the number well within Int64.
    name = "integer"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(click.INT(value, param, ctx))
        if abs(number) > 10**9:
            self.fail(f"{number} is not between -1000000000 and 1000000000", param, ctx)
        return number


as_of_option = click.option(
    "--as-of", type=AsOf(), help="Answer from the lake as of this hour, not from the newest publication."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
user_argument = click.argument("user_id", type=Text())
keyboard_argument = click.argument("keyboard_id", type=Text())
n_option = click.option("-n", "n", type=_Whole(), default=10, show_default=True, help="Maximum number of rows.")
sizes_option = click.option(
    "--ngram-sizes", type=_Sizes(), help="Only n-grams of these sizes, such as 2,3; an empty value means none."
)
keys_option = click.option("--included-keys", type=Text(), help="Only n-grams that consist of these characters.")
target_option = click.option(
    "--target-speed-ms",
    type=click.FloatRange(0, 10**6, min_open=True),
    help="Target in ms per keystroke, instead of the keyboard's own.",
)
own_options = tuple(
    click.option(f"--{name.replace('_', '-')}", type=kind, help=f"Newer than the last hour's: {what}.")
    for name, kind, what in (
        ("tasks_completed", int, "all tasks"),
        ("tasks_this_week", int, "tasks of the last 7 days"),
        ("practice_minutes", float, "all minutes"),
        ("speaking_tasks", int, "all speaking tasks"),
        ("days_practiced", int, "days with practice among the last 7"),
        ("current_streak", int, "days of the streak"),
    )
)


def _with_own(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(own_options):
        command = option(command)
    return command


@click.command("ghost-data")
@user_argument
@as_of_option
@click.option(
    "--extended", is_flag=True, help="Add the age of every figure (as_of), and whether the cohort is withheld."
)
@json_option
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
@click.option("--context", required=True, help="Where the messages are shown, such as daily_dashboard.")
@as_of_option
@_with_own
@json_option
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
@click.argument("metric")
@click.option(
    "--base", default="cohort", show_default=True, help="Compare with the user's cohort, or with all users (global)."
)
@as_of_option
@json_option
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
    "--population", default="interval", show_default=True, help="Who reached that band: interval or at_least."
)
@click.option("--target-band", type=float, help="Only this band.")
@click.option("--starting-skill", type=float, help="Only this diagnostic score.")
@click.option("--day-number", type=_Whole(), help="Only this day of the journey.")
@click.option(
    "--success-percentile", type=_Whole(), help="Only the top percent of achievers of this many: 10, 25 or 50."
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
def keyboards(user_id: str, *, as_json: bool) -> None:
    """Keyboards that a user has practised on, the most practised first."""
    _show(_reader().keyboards(user_id), as_json=as_json, nothing="no n-gram of that user is measured")


@click.command()
@user_argument
@keyboard_argument
@target_option
# The second name is that of earlier releases.
@click.option(
    "--ngram-size-filter", "--ngram-size", "ngram_size_filter", type=int, help="Only n-grams of this size, 1 to 20."
)
@click.option("--exclude-successful", is_flag=True, help="Hide n-grams that meet the target.")
@click.option("--sort-order", default="worst_to_best", show_default=True, help="worst_to_best or best_to_worst.")
@json_option
def heatmap(user_id: str, keyboard_id: str, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Speed of each n-gram against the target, in colours."""
    from ghost_pipeline.cli.render import as_heat_map

    rows = _reader().heatmap(user_id, keyboard_id, **options)
    _show(rows, as_json=as_json, shown=as_heat_map)


@click.command()
@user_argument
@keyboard_argument
@n_option
@sizes_option
@keys_option
@click.option(
    "--min-occurrences", type=_Whole(), default=5, show_default=True, help="Only n-grams measured at least this often."
)
@click.option("--focus-on-speed-target", is_flag=True, help="Only n-grams that miss the target.")
@json_option
def slowest(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Slowest n-grams of a user on a keyboard."""
    _show(_reader().slowest(user_id, keyboard_id, n, **options), as_json=as_json)


@click.command()
@user_argument
@keyboard_argument
@n_option
@sizes_option
@keys_option
@click.option(
    "--lookback-distance",
    type=_Whole(),
    default=1000,
    show_default=True,
    help="Count errors of this many newest sessions.",
)
@json_option
def errors(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Most often mistyped n-grams of a user on a keyboard."""
    _show(_reader().errors(user_id, keyboard_id, n, **options), as_json=as_json)


@click.command()
@user_argument
@keyboard_argument
@click.argument("ngram_text", required=False, type=Text())
@n_option
@json_option
def trend(user_id: str, keyboard_id: str, ngram_text: str | None, n: int, *, as_json: bool) -> None:
    """Hourly history of one n-gram, or the biggest changes.

    Without NGRAM_TEXT, the biggest changes between the two latest states of the keyboard.
    """
    reader = _reader()
    if ngram_text is None:
        rows = reader.biggest_changes(user_id, keyboard_id, n)
        _show(rows, as_json=as_json, nothing="the history does not have two states of that keyboard yet")
    else:
        rows = reader.trend(user_id, keyboard_id, ngram_text)
        _show(rows, as_json=as_json, nothing="the history does not contain that n-gram on that keyboard")


@click.command()
@user_argument
@keyboard_argument
@n_option
@click.option(
    "--n-sessions", type=_Whole(), default=20, show_default=True, help="Count misses of this many newest sessions."
)
@target_option
@json_option
def progress(user_id: str, keyboard_id: str, n: int, *, as_json: bool, **options: Any) -> None:  # noqa: ANN401 - as named above
    """Misses of the newest sessions, biggest changes, costliest n-grams and mistakes."""
    from ghost_pipeline.cli.render import as_table
    from ghost_pipeline.serving.json_rows import as_json_rows

    parts = _reader().progress(user_id, keyboard_id, n, **options)._asdict()
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
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise SettingsError(
            f"serve: cannot listen on {host}:{port} ({error.strerror or error}). Choose another --host or --port"
        ) from error
    with listening:
        bound = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        click.echo(f"Web page on {bound}/, API description on {bound}/openapi.json", err=True)
        server = build_server(build_app(settings))
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
