"""The errors this project raises on purpose.

A message names the table, the partition, the culprit and the remedy, in that order and as far as they are known, so
that it is complete on one line of a terminal. Any other exception is a defect of this project and keeps its traceback.
"""

import errno
import os
import re

_OF_STORAGE = tuple(os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO))
"""What the system says of storage, with which a message of DuckDB ends after the path of its file."""
_OF_TYPES = re.compile(r"conversion from `[^`]*` to `[^`]*` failed in column '[^']*' for \d+ out of \d+ values: ")
"""The part of a polars message about a column and its types that precedes the cited values."""
_OF_SYSTEM = re.compile(r"[\w ]+ \(os error \d+\)")
"""A message of the system, before the path of its file."""
_TYPE = re.compile(r"`[^`]*`|'[^']*'")
_CITED = re.compile(r"""(?:[`"\[]|(?<!\w)'|-?\d{5}).*""")
"""The values of rows in an engine's message: everything from the first quote, bracket or long number on, since a value
may contain any of them."""


def without_values(error: Exception) -> str:
    """The first line of an engine's message, up to the first value that it cites, which may name a person."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    if of_storage := next((one for one in _OF_STORAGE if first_line.endswith(one)), None):
        return of_storage
    if of_system := _OF_SYSTEM.match(first_line):
        return of_system[0]
    told = found[0] if (found := _OF_TYPES.match(first_line)) else ""
    return (_TYPE.sub("…", told) + _CITED.sub("…", first_line[len(told) :])).strip().rstrip(".")


class GhostError(Exception):
    """Base of every error whose message is meant for the person who runs the pipeline."""


class SettingsError(GhostError):
    """A setting is missing, malformed or contradicts another one."""


class SourceError(GhostError):
    """The source, one of its tables or one of its columns cannot be read."""


class ContractError(GhostError):
    """A frame breaks the contract of its table; nothing was written."""


class LakeError(GhostError):
    """The lake lacks something that a step needs, or cannot be written."""


class EngineError(GhostError):
    """An engine refused a query, although no file is damaged and every column has its type."""


class PublishError(GhostError):
    """The published database cannot be built, replaced or read."""


class UnknownTimeError(GhostError):
    """A partition or an instant cannot be read as a full UTC hour or month."""


class UnknownUserError(GhostError):
    """There is no user with that id at the time of the answer."""


class UnknownKeyboardError(GhostError):
    """The user has no keyboard with that id."""


class ForbiddenError(GhostError):
    """The caller may not see these figures, which are another user's."""


class UnknownArgumentError(GhostError, ValueError):
    """An argument of a question is not one of the allowed values; the message lists them."""


class NothingPublishedError(GhostError):
    """There is no published database, or no hour in it, to answer from yet."""
