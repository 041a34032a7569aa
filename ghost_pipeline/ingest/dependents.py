"""Tables that show what a raw table holds, and therefore go stale or are recomputed when it changes."""

from ghost_pipeline.contracts.ghost import COHORT_GHOST_DATA, GHOST_MESSAGES, USER_GHOST_STATS
from ghost_pipeline.contracts.months import MONTHLY_FIGURES
from ghost_pipeline.contracts.ngrams import NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY
from ghost_pipeline.contracts.raw import (
    KEYBOARDS,
    PRACTICE_SESSIONS,
    SESSION_KEYSTROKES,
    SESSION_NGRAM_ERRORS,
    SESSION_NGRAM_SPEED,
    SOURCE_TABLES,
    USER_PROGRESS,
    USERS,
)
from ghost_pipeline.domain.shared.versions import UPDATED_AT

GHOST_SNAPSHOTS = (USER_GHOST_STATS, COHORT_GHOST_DATA, GHOST_MESSAGES)
NGRAM_SNAPSHOTS = (NGRAM_SPEED_SUMMARIES, NGRAM_SPEED_SUMMARY_HISTORY)
SNAPSHOTS = {
    USER_PROGRESS.name: (*GHOST_SNAPSHOTS, *MONTHLY_FIGURES),
    PRACTICE_SESSIONS.name: NGRAM_SNAPSHOTS,
    SESSION_KEYSTROKES.name: NGRAM_SNAPSHOTS,
    SESSION_NGRAM_SPEED.name: NGRAM_SNAPSHOTS,
}
"""Tables that show everything before the end of their hour or month: stale from the first change on (G1.8)."""

EXTRACTED = {
    PRACTICE_SESSIONS.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
    SESSION_KEYSTROKES.name: (SESSION_NGRAM_SPEED, SESSION_NGRAM_ERRORS),
}
"""Tables that are computed hour by hour from a raw table, and recomputed from the hour of a late row on."""

_SNAPSHOTS_OF_VERSIONS = {
    USERS.name: (
        # Only months read the final band.
        (GHOST_SNAPSHOTS, {"final_band_score", "final_band_at"}),
        # Achievers are compared by where they started and what they reached, in all cohorts together.
        (MONTHLY_FIGURES, {"cohort_id", "cohort_excluded", "target_band"}),
    ),
    # The typist of a summary is that of the session.
    KEYBOARDS.name: ((NGRAM_SNAPSHOTS, {"user_id", "keyboard_name"}),),
}
"""Snapshots that show the versions of a table, and the columns of which they show nothing.

A column that is not named here counts as shown: a needless stale hour costs time, a missing one shows an old figure.
"""

VERSION_COLUMNS = {
    name: tuple(
        (
            tuple(
                column.stored_as
                for column in SOURCE_TABLES[name].columns
                if column.name not in {*SOURCE_TABLES[name].key, UPDATED_AT, *not_shown}
            ),
            snapshots,
        )
        for snapshots, not_shown in groups
    )
    for name, groups in _SNAPSHOTS_OF_VERSIONS.items()
}
"""The columns of a version that snapshots show or compute with, and those snapshots."""
