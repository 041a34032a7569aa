"""What was probably meant by a name that is unknown: settings, tables, choices, and for operators users and keyboards.

Only commands suggest users and keyboards: the HTTP API tells no caller of another one's id.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from ghost_pipeline.errors import GhostError, UnknownKeyboardError, UnknownUserError
from ghost_pipeline.settings import Settings

if TYPE_CHECKING:
    from ghost_pipeline.serving import GhostReader

Arguments = ParamSpec("Arguments")
SUGGESTED = 3


def did_you_mean(given: str, known: Iterable[str], before: str = "") -> str:
    """The end of a sentence about an unknown name: the nearest known ones, with `before` before each; or nothing."""
    near = get_close_matches(given, list(known), n=SUGGESTED)
    return f". Did you mean {' or '.join(f'{before}{one}' for one in near)}?" if near else ""


def unknown_settings(names: Iterable[str]) -> dict[str, str]:
    """The variables that look like settings and are none, each with what was probably meant; that may be nothing."""
    known = [name.upper() for name in Settings.model_fields]
    looks = (name.removeprefix("GHOST_") for name in sorted(names) if name.startswith("GHOST_"))
    return {f"GHOST_{name}": did_you_mean(name, known, "GHOST_") for name in looks if name not in known}


def with_near_ids(function: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Let a command about a user add the nearest ids to the error about an unknown user or keyboard."""

    @wraps(function)
    def command(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        try:
            function(*arguments, **options)
        except (UnknownUserError, UnknownKeyboardError) as error:
            from ghost_pipeline.serving import GhostReader

            near = _near_users if isinstance(error, UnknownUserError) else _own_keyboards
            raise type(error)(f"{error}{near(GhostReader(), str(options['user_id']))}") from None

    return command


def _near_users(reader: "GhostReader", user_id: str) -> str:
    from ghost_pipeline.lake.lake import Lake
    from ghost_pipeline.publish.database_query import query
    from ghost_pipeline.sql_quoting import sql_literal

    # In DuckDB, which compares a million ids in a fraction of a second.
    given = sql_literal(user_id)
    sql = (
        f"SELECT user_id FROM (SELECT user_id FROM user_ghost_stats UNION SELECT user_id FROM ngram_speed_summaries) "  # noqa: S608 - a quoted literal
        f"WHERE damerau_levenshtein(user_id, {given}) <= 2 "
        f"ORDER BY damerau_levenshtein(user_id, {given}), user_id LIMIT {SUGGESTED}"
    )
    with suppress(GhostError):
        near = query(sql, reader.settings.database, Lake(reader.settings.lake))["user_id"].to_list()
        return f". Did you mean {' or '.join(near)}?" if near else ""
    return ""


def _own_keyboards(reader: "GhostReader", user_id: str) -> str:
    owned = reader.keyboards(user_id)["keyboard_id"].to_list()
    more = f" and {len(owned) - SUGGESTED} more" if len(owned) > SUGGESTED else ""
    return f". That user's keyboards: {', '.join(owned[:SUGGESTED])}{more}" if owned else ""
