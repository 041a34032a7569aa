"""The page `docs/messages.md`, written from the catalogue."""

from collections.abc import Iterator

from ghost_pipeline.contracts.messages import DISPLAY_RULES, MESSAGES, METRIC_LABELS, DisplayRule
from ghost_pipeline.domain.ghost.ghost_figures import DEFAULT_LIMITS, SILENT_DAY
from ghost_pipeline_tests.docs.tables_page import GENERATED

APPLIES = {None: "always", "streak_at_risk": "last active yesterday", "silent": "no task for 48 hours or more"}

_NOTHING = f"""\
## When nothing is said

A message is offered to a user where it is true, and a place that stays free is not padded:

- The figure is there: the user has a starting skill, a day of the journey and a band that enough people reached; the
  cohort is released and the figure is not withheld.
- It is not too old at the `as_of` of the answer: a release up to {DEFAULT_LIMITS.release_max_age.days * 24} hours
  (`GHOST_RELEASE_MAX_AGE_HOURS`), a month up to {DEFAULT_LIMITS.month_max_age.days} days after its end
  (`GHOST_BENCHMARK_MAX_AGE_DAYS`). The newest month serves that ended at least 24 hours before
  (`GHOST_BENCHMARK_DELAY_HOURS`); where it was never computed, the one before.
- It does not print as 0.
- A share of streaks is that of the smallest threshold above the user's streak; above all of them there is none.
- "Catch up?" of `opening_4` is said to users below the average alone, in the numbers as they are printed.

After inactivity: who never completed a task counts as silent from day {SILENT_DAY} of the journey on, the first day on
which 48 hours have passed since the account was made, whatever its hour.

## Numbers

Ratios are compared in whole hundredths: from 1.1 on `ahead`, from 0.9 on `close`, else `behind`. The figure is the one
that is stored (11.58), the sentence shows one decimal at most, half up (11.6; 12 for 12.00), and a band always one
(7.0+). Past the last day with a benchmark the sentence names the day that its figure is for.

## Adding a message

One entry in `MESSAGES` of `ghost_pipeline/contracts/messages.py`: the columns of `ghost_figures` with the user's value
and the figure, and a wording. With `alternate=True` it fills free places of the contexts that take alternates; else its
type goes among the `choices` of a context in `DISPLAY_RULES`. A template may name what `PLACEHOLDERS` lists. A new
metric gets its label in `METRIC_LABELS`, a new figure its column in `ghost_pipeline/domain/ghost/ghost_figures.py`.

Answers and the hourly export `ghost_messages` are made by the same function, `ghost_messages`. The export is for
mailings and analysis; nothing reads it here, and `GHOST_EXPORT_MESSAGES=false` switches it off. It shows the months
that were there when it ran: run the hour again after a month was added or corrected."""


def messages_page() -> str:
    """What may be said to users, where, and when nothing is."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield "# Messages"
    yield ""
    yield GENERATED.replace("the contracts; change those", "the catalogue; change that")
    yield ""
    yield "| type | position | sentence | tone |"
    yield "|---|---|---|---|"
    for message in MESSAGES.values():
        for position, wording in message.cases:
            yield f"| `{message.type}` | {position or ''} | {wording.template} | {wording.tone} |"
    yield ""
    yield "| metric | one | several |"
    yield "|---|---|---|"
    for metric, (singular, plural) in METRIC_LABELS.items():
        yield f"| `{metric}` | 1 {singular} | 2 {plural} |"
    yield ""
    yield "## Where they are shown"
    yield ""
    yield "| context | when | first choices | places | free places | priority |"
    yield "|---|---|---|---|---|---|"
    for rule in DISPLAY_RULES:
        yield _rule(rule)
    yield ""
    yield _NOTHING
    yield ""


def _rule(rule: DisplayRule) -> str:
    standing = f"where the first comparison that can be made finds the user {rule.only}"
    alternates = ", ".join(f"`{message.type}`" for message in MESSAGES.values() if message.alternate)
    cells = (
        f"`{rule.context}`",
        standing if rule.only else APPLIES[rule.applies],
        ", ".join(f"`{name}`" for name in rule.choices),
        str(rule.count),
        alternates if rule.alternates else "",
        rule.priority,
    )
    return f"| {' | '.join(cells)} |"
