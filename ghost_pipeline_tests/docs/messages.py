"""The page `docs/messages.md`, written from the registry of messages."""

from collections.abc import Iterator

from ghost_pipeline.contracts.messages import DISPLAY_RULES, MESSAGES, METRIC_LABELS, DisplayRule
from ghost_pipeline.domain.ghost.ghost_figures import SILENT_DAY
from ghost_pipeline_tests.docs.tables_page import GENERATED
from ghost_pipeline_tests.reference.months import LIMITS

APPLIES = {None: "always", "streak_at_risk": "last active yesterday", "silent": "no task for 48 hours or more"}

_NOTHING = f"""\
## No message

A message is offered if it is true, and a free place is never padded. All of this must hold:

- The figure exists: the user has a starting skill, a day in the journey and a band that enough people reached; the
  cohort is released, and the figure is not withheld.
- It is not too old at the `as_of` of the answer: a release up to {LIMITS.release_max_age.days * 24} hours
  (`GHOST_RELEASE_MAX_AGE_HOURS`), a month up to {LIMITS.month_max_age.days} days after its end
  (`GHOST_BENCHMARK_MAX_AGE_DAYS`). The month that serves is the newest one that ended at least 24 hours before
  (`GHOST_BENCHMARK_DELAY_HOURS`); if it was never computed, the month before serves.
- It does not print as 0.
- A streak share is that of the smallest threshold above the user's streak; above all thresholds there is none.
- "Catch up?" of `opening_4` goes only to users below the average, in the numbers as printed.

After inactivity: a user without any completed task counts as silent from day {SILENT_DAY} of the journey on, the first
day on which 48 hours have certainly passed since the account was created.

## Numbers

Ratios are compared in whole hundredths: `ahead` from 1.1 on, `close` from 0.9 on, otherwise `behind`. The comparison
uses the stored figure (11.58); the sentence shows at most one decimal, half up (11.6; 12 for 12.00), and a band always
has one (7.0+). After the last day with a benchmark the sentence names the day that its figure is for.

## Adding a message

Add one entry to `MESSAGES` in `ghost_pipeline/contracts/messages.py`: the columns of `ghost_figures` with the user's
value and the figure, and a wording. With `alternate=True` it fills free places of the contexts that take alternates;
otherwise add its type to the `choices` of a context in `DISPLAY_RULES`. A template may use what `PLACEHOLDERS` lists. A
new metric needs a label in `METRIC_LABELS`; a figure that is in no registry needs a column in
`ghost_pipeline/domain/ghost/ghost_figures.py`.

One function, `ghost_messages`, makes both the answers and the hourly export `ghost_messages`. The export is for
mailings and analysis; the product itself does not read it, and `GHOST_EXPORT_MESSAGES=false` switches it off. It
shows the months that existed when it ran: run the hour again after a month was added or corrected."""


def messages_page() -> str:
    """The page: every sentence, its contexts, and when there is none."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield "# Messages"
    yield ""
    yield GENERATED.replace("the contracts; change those", "the registry; change that")
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
    yield "## Contexts"
    yield ""
    yield "| context | when | first choices | places | free places | priority |"
    yield "|---|---|---|---|---|---|"
    for rule in DISPLAY_RULES:
        yield _rule(rule)
    yield ""
    yield _NOTHING
    yield ""


def _rule(rule: DisplayRule) -> str:
    standing = f"the first possible comparison finds the user {rule.only}"
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
