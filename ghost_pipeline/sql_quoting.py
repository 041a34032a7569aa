"""Quoting for SQL statements that are put together from names and texts; the same in every database we speak to.

Values that come from users or rows are parameters of a statement, never part of its text.
"""


def sql_identifier(name: str) -> str:
    """A name as a quoted identifier, whatever characters it holds."""
    return '"' + name.replace('"', '""') + '"'


def sql_literal(text: str) -> str:
    """A text as a string literal."""
    return "'" + text.replace("'", "''") + "'"
