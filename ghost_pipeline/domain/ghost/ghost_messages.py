"""Which messages a user is shown where, and in which words: one vectorized way for one user and for all (G7).

Numbers are compared and printed as whole hundredths, the finest that a figure is stored in (G7.2).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from string import Formatter

import polars as pl

from ghost_pipeline.contracts.messages import (
    DISPLAY_RULES,
    MESSAGES,
    PLACEHOLDERS,
    DisplayRule,
    Filling,
    Message,
    Position,
    Wording,
    label,
)
from ghost_pipeline.domain.ghost.message_rows import Case, Choice, message_rows
from ghost_pipeline.errors import UnknownArgumentError

_HUNDREDTHS = 100
_PER_TENTH = 10
# Ten times the user's value against eleven and nine times the figure: ratios of 1.1 and 0.9 in integers.
_LEVEL, _AHEAD, _CLOSE = 10, 11, 9

_POSITIONS: tuple[Position, ...] = ("ahead", "close", "behind")


def ghost_messages(
    figures: pl.LazyFrame,
    contexts: Sequence[str] | None = None,
    *,
    messages: Mapping[str, Message] = MESSAGES,
    rules: Sequence[DisplayRule] = DISPLAY_RULES,
) -> pl.LazyFrame:
    """Return the messages of each user in every context that applies, or in some contexts (G7.5).

    Takes the output of `ghost_figures`, of one user or of all. A message is offered where it is true: the figure
    and the user's value are there, the figure does not print as 0, and the user's value is below what
    `Message.below` names. Places that stay free are not padded.

    Returns the columns of `GHOST_MESSAGES`, sorted by user_id, the order of `rules`, and place.

    Raises:
        UnknownArgumentError: there is no rule for a context; names those that there are.

    """
    texts = pl.selectors.enum()
    return coded_messages(figures, contexts, messages=messages, rules=rules).lazy().with_columns(texts.cast(pl.String))


def coded_messages(
    figures: pl.LazyFrame,
    contexts: Sequence[str] | None = None,
    *,
    messages: Mapping[str, Message] = MESSAGES,
    rules: Sequence[DisplayRule] = DISPLAY_RULES,
) -> pl.DataFrame:
    """Return the same as `ghost_messages`, with an Enum for texts of which there are few."""
    candidates = {rule: _candidates(rule, messages) for rule in _asked(contexts, rules)}
    schema = figures.collect_schema()
    users = _placed(figures, candidates, schema).collect()
    choices = [
        Choice(rule, Case(message, *case), _shown(rule, message, case[0]))
        for rule, considered in candidates.items()
        for message in considered
        for case in message.cases
    ]
    return message_rows(users, choices, partial(_worded, schema=schema))


def with_message_texts(
    figures: pl.LazyFrame,
    types: Sequence[str],
    *,
    messages: Mapping[str, Message] = MESSAGES,
) -> pl.LazyFrame:
    """The figures with a column `<type>_text` (String?) for each type, null where it is not offered to the user.

    Independent of contexts: an answer that shows a figure also shows its message (G8).
    """
    schema = figures.collect_schema()
    return figures.with_columns(
        pl.when(_offered(messages[name], schema)).then(_sentence(messages[name], schema)).alias(f"{name}_text")
        for name in types
    )


def formatted_message(figures: pl.LazyFrame, message: Message) -> pl.LazyFrame:
    """Return the sentence for every row, even if it would not be offered.

    Returns position String? (null where the message does not say), text String?, offered Boolean.
    """
    schema = figures.collect_schema()
    return figures.select(
        position=pl.lit(pl.Series(_POSITIONS)).gather(_position(message, schema)),
        text=_sentence(message, schema),
        offered=_offered(message, schema),
    )


def _asked(contexts: Sequence[str] | None, rules: Sequence[DisplayRule]) -> list[DisplayRule]:
    known = [rule.context for rule in rules]
    for context in contexts or ():
        if context not in known:
            raise UnknownArgumentError(f"context must be one of {', '.join(known)} (got {context!r})")
    return [rule for rule in rules if contexts is None or rule.context in contexts]


def _candidates(rule: DisplayRule, messages: Mapping[str, Message]) -> list[Message]:
    """Return the messages that a rule may show, best first."""
    alternates = [message for message in messages.values() if message.alternate and message.type not in rule.choices]
    return [messages[name] for name in rule.choices] + (alternates if rule.alternates else [])


def _placed(
    figures: pl.LazyFrame, candidates: Mapping[DisplayRule, Sequence[Message]], schema: pl.Schema
) -> pl.LazyFrame:
    """Each user with what the messages need, and a column for each message of a rule: its place there.

    Only the messages that are shown are then worded.
    """
    messages = {message.type: message for considered in candidates.values() for message in considered}
    needed = {"user_id", "snapshot_date", "snapshot_hour", "as_of"}.union(*map(_needed, messages.values()))
    needed |= {rule.applies for rule in candidates if rule.applies}
    return (
        figures.select(sorted(needed))
        .sort("user_id")
        .with_columns(
            *(_offered(message, schema).alias(_offer(message)) for message in messages.values()),
            *(_position(message, schema).alias(_stand(message)) for message in messages.values()),
        )
        .with_columns(
            _place(rule, considered[: number + 1]).alias(_place_in(rule, message))
            for rule, considered in candidates.items()
            for number, message in enumerate(considered)
        )
    )


def _has_positions(message: Message) -> bool:
    return not isinstance(message.wordings, Wording)


def _offered(message: Message, schema: pl.Schema) -> pl.Expr:
    """Whether the message is true of the user, never null."""
    numbers = [_hundredths(message.user_value, schema).is_not_null(), _tenths(message.figure, schema) > 0]
    columns = [pl.col(name).is_not_null() for name in sorted(_named(message))]
    below = [_tenths(message.user_value, schema) < _tenths(message.below, schema)] if message.below else []
    return pl.all_horizontal(*numbers, *columns, *below).fill_null(value=False)


def _position(message: Message, schema: pl.Schema) -> pl.Expr:
    """Number in `_POSITIONS` (UInt8): a ratio from 1.1 on, from 0.9 on, less; no value reaches a figure of 0 (G7.2).

    Null for a message with one wording for all.
    """
    if not _has_positions(message):
        return pl.lit(None, pl.UInt8)
    user, figure = _hundredths(message.user_value, schema), _hundredths(message.figure, schema)
    ahead, close = (_LEVEL * user >= limit * figure for limit in (_AHEAD, _CLOSE))
    number = pl.when((figure > 0) & ahead).then(0).when((figure > 0) & close).then(1).otherwise(2)
    return number.cast(pl.UInt8)


def _place(rule: DisplayRule, considered: Sequence[Message]) -> pl.Expr:
    """The place that a rule gives the last of some messages (UInt8), null where it does not show it."""
    *better, message = considered
    before = pl.sum_horizontal(pl.lit(0, pl.UInt8), *(pl.col(_offer(one)).cast(pl.UInt8) for one in better))
    shown = pl.col(_offer(message)) & (before < rule.count)
    if rule.applies:
        shown &= pl.col(rule.applies)
    if rule.only:
        shown &= pl.col(_stand(message)) == _POSITIONS.index(rule.only)
    return pl.when(shown).then(before + pl.lit(1, pl.UInt8))


def _shown(rule: DisplayRule, message: Message, position: Position | None) -> pl.Expr:
    """The place of a message in the wording for a position, null where it is not shown in that wording."""
    place = pl.col(_place_in(rule, message))
    return pl.when(pl.col(_stand(message)) == _POSITIONS.index(position)).then(place) if position else place


def _worded(case: Case, schema: pl.Schema) -> tuple[pl.Expr, ...]:
    message = case.message
    return (
        _float(_hundredths(message.user_value, schema)).alias("user_value"),
        _float(_hundredths(message.figure, schema)).alias("figure"),
        pl.col(message.figure_as_of).alias("figure_as_of"),
        _text(message, case.wording, schema).alias("text"),
    )


def _sentence(message: Message, schema: pl.Schema) -> pl.Expr:
    """The sentence in the wording that the user's position calls for."""
    if isinstance(message.wordings, Wording):
        return _text(message, message.wordings, schema)
    position = _position(message, schema)
    return pl.coalesce(
        pl.when(position == _POSITIONS.index(name)).then(_text(message, wording, schema))
        for name, wording in message.wordings.items()
    )


def _text(message: Message, wording: Wording, schema: pl.Schema) -> pl.Expr:
    parts = []
    for literal, field, _, _ in Formatter().parse(wording.template):
        parts.append(pl.lit(literal))
        if field:
            parts.append(_filled(field, message, schema))
    return pl.concat_str(parts)


def _filled(field: str, message: Message, schema: pl.Schema) -> pl.Expr:
    match PLACEHOLDERS[field]:
        case Filling.FIGURE:
            return _printed(message.figure, schema)
        case Filling.USER_VALUE:
            return _printed(message.user_value, schema)
        case Filling.FIGURE_LABEL:
            return _label(message.metric, message.figure, schema)
        case Filling.USER_LABEL:
            return _label(message.metric, message.user_value, schema)
        case column:
            return pl.col(column).cast(pl.String)


def _needed(message: Message) -> set[str]:
    """The columns of `ghost_figures` that a message is made from."""
    below = {message.below} if message.below else set()
    return {message.user_value, message.figure, message.figure_as_of} | below | _named(message)


def _named(message: Message) -> set[str]:
    """The columns that the wordings name beside figure and user's value."""
    fields = {field for _, wording in message.cases for _, field, _, _ in Formatter().parse(wording.template) if field}
    return {column for column in map(PLACEHOLDERS.__getitem__, fields) if isinstance(column, str)}


def _offer(message: Message) -> str:
    return f"_{message.type}_offered"


def _stand(message: Message) -> str:
    return f"_{message.type}_position"


def _place_in(rule: DisplayRule, message: Message) -> str:
    return f"_{rule.context}_{message.type}"


def _label(metric: str, number: str, schema: pl.Schema) -> pl.Expr:
    singular, plural = label(metric)
    if singular == plural:
        return pl.lit(plural)
    return pl.when(_tenths(number, schema) == _PER_TENTH).then(pl.lit(singular)).otherwise(pl.lit(plural))


def _printed(number: str, schema: pl.Schema) -> pl.Expr:
    """12 for 12.00, 12.5 for 12.50, 11.6 for 11.58: at most one decimal, half up (G7.4)."""
    if schema[number].is_integer():
        return pl.col(number).cast(pl.String)
    tenths = _tenths(number, schema)
    whole, tenth = (tenths // _PER_TENTH).cast(pl.String), tenths % _PER_TENTH
    return pl.when(tenth == 0).then(whole).otherwise(pl.concat_str(whole, pl.lit("."), tenth.cast(pl.String)))


def _tenths(number: str, schema: pl.Schema) -> pl.Expr:
    # Numbers are never negative: half up is half away from zero.
    return (_hundredths(number, schema) + _PER_TENTH // 2) // _PER_TENTH


def _hundredths(number: str, schema: pl.Schema) -> pl.Expr:
    """A whole number, a decimal or minutes in hundredths (Int64)."""
    dtype = schema[number]
    if dtype.is_integer():
        return pl.col(number).cast(pl.Int64) * _HUNDREDTHS
    if isinstance(dtype, pl.Decimal):
        return (pl.col(number) * _HUNDREDTHS).cast(pl.Int64)
    return (pl.col(number) * _HUNDREDTHS).round(mode="half_away_from_zero").cast(pl.Int64)


def _float(hundredths: pl.Expr) -> pl.Expr:
    # polars divides by a literal through its reciprocal, which makes 1158 hundredths 11.580000000000002.
    return hundredths / (hundredths * 0 + _HUNDREDTHS)
