"""The kinds of arguments that commands take, and the options that several of them share.

Choices are read from their registries only when they are needed: importing those takes longer than most commands do.
"""

from collections.abc import Callable, Iterable
from datetime import datetime

import click
from click.shell_completion import CompletionItem

from ghost_pipeline.cli.suggestions import did_you_mean
from ghost_pipeline.errors import UnknownTimeError
from ghost_pipeline.windows import parse_as_of


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


class Sizes(click.ParamType[list[int]]):
    """Whole numbers, separated by commas."""

    name = "sizes"

    def convert(self, value: str | list[int], param: click.Parameter | None, ctx: click.Context | None) -> list[int]:
        """Parse sizes such as 2,3."""
        if isinstance(value, list):
            return value
        try:
            return [int(size) for size in value.split(",") if size.strip()]
        except ValueError:
            self.fail(f"{value!r} is not a list of whole numbers such as 2,3", param, ctx)


class Whole(click.ParamType[int]):
    """A whole number of at most nine digits."""

    # click.IntRange would show its bounds in --help; these only keep the number well within Int64.
    name = "integer"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse a number."""
        number = int(click.INT(value, param, ctx))
        if abs(number) > 10**9:
            self.fail(f"{number} is not between -1000000000 and 1000000000", param, ctx)
        return number


class OneOf(click.ParamType[str]):
    """One of the values of a registry; shells complete it."""

    def __init__(self, name: str, values: Callable[[], Iterable[str]]) -> None:
        """Take the values from a function that imports their registry."""
        self.name, self._values = name, values

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:  # noqa: ARG002 - click's signature
        """The values as help shows them."""
        shown = "|".join(self._values())
        return f"[{shown}]" if isinstance(param, click.Option) else f"{{{shown}}}"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value if it is one of the registry; otherwise name the nearest and all of them."""
        known = list(self._values())
        if value not in known:
            self.fail(f"{value!r} is not one of {', '.join(known)}{did_you_mean(value, known)}", param, ctx)
        return value

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """The values that begin with what is typed."""
        return [CompletionItem(one) for one in self._values() if one.startswith(incomplete)]


def contexts() -> Iterable[str]:
    """Where messages are shown."""
    from ghost_pipeline.serving.learners import CONTEXTS

    return CONTEXTS


def metrics() -> Iterable[str]:
    """The metrics of percentile ranks, and their other names."""
    from ghost_pipeline.contracts.rank_metrics import RANK_ALIASES, RANK_METRICS

    return [*RANK_METRICS, *RANK_ALIASES]


def bases() -> Iterable[str]:
    """With whom a percentile rank compares."""
    from ghost_pipeline.contracts.rank_metrics import RANK_BASES

    return RANK_BASES


def populations() -> Iterable[str]:
    """Whose benchmarks there are."""
    from ghost_pipeline.serving.learners import POPULATIONS

    return POPULATIONS


def sort_orders() -> Iterable[str]:
    """The orders of a heat map."""
    from ghost_pipeline.domain.ngrams.ngram_queries import SORT_ORDERS

    return SORT_ORDERS


def tables() -> Iterable[str]:
    """The tables that have a contract."""
    from ghost_pipeline.contracts import CONTRACTS
    from ghost_pipeline.contracts.published import PUBLISHED_ONLY

    return [*CONTRACTS, *(one.name for one in PUBLISHED_ONLY)]


as_of_option = click.option(
    "--as-of", type=AsOf(), help="Answer from the lake as of this hour, not from the newest publication."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
user_argument = click.argument("user_id", type=Text())
keyboard_argument = click.argument("keyboard_id", type=Text())
n_option = click.option("-n", "n", type=Whole(), default=10, show_default=True, help="Maximum number of rows.")
sizes_option = click.option(
    "--ngram-sizes", type=Sizes(), help="Only n-grams of these sizes, such as 2,3; an empty value means none."
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


def with_own(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of newer figures of a user."""
    for option in reversed(own_options):
        command = option(command)
    return command
