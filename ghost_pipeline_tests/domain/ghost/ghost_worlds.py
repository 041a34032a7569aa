"""Random small worlds around the calendar's corners, for property tests."""

from datetime import timedelta

from hypothesis import strategies as st

from ghost_pipeline_tests.domain.ghost.ghost_frames import Row, at, event, user

# Ends of hours beside changes of the clock, ends of months and years, a leap day, and after dates that zones skipped.
CORNERS = (
    "1995-01-02T11:00",
    "2012-01-01T12:00",
    "2024-03-01T00:00",
    "2024-03-31T01:00",
    "2024-10-27T01:00",
    "2025-01-01T00:00",
    "2025-03-09T08:00",
    "2025-03-12T12:00",
)
ZONES = (
    None,
    None,
    "UTC",
    "Europe/Rome",
    "America/New_York",
    "America/St_Johns",
    "Asia/Kolkata",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Mars/Olympus",
)
TASK_TYPES = ("speaking", "writing", "reading", "listening", "vocabulary", "grammar", "mock_test")

as_ofs = st.sampled_from(CORNERS).map(at)


@st.composite
def worlds(draw: st.DrawFn, *, achievers: bool = False, max_users: int = 6) -> tuple[str, list[Row], list[Row]]:
    """An `as_of`, users and events within a fortnight or two before it (a few after it)."""
    as_of = draw(st.sampled_from(CORNERS))
    seconds = st.integers(-2 * 86_400, 16 * 86_400)
    users: list[Row] = []
    for number in range(draw(st.integers(1, max_users))):
        created_at = at(as_of) - timedelta(seconds=draw(seconds))
        scores: Row = {}
        if achievers:
            scores = {
                "diagnostic_score": draw(st.sampled_from([None, 4.9, 5.0, 5.4, 5.5, 6.2, 7.0])),
                "final_band_score": draw(st.sampled_from([None, 6.9, 7.0, 7.4, 7.5, 8.1, 8.5, 9.0])),
                "final_band_at": draw(st.sampled_from([None, at(as_of), at(as_of) - timedelta(hours=1)])),
            }
        users.append(
            user(
                f"u{number}",
                cohort_id=draw(st.sampled_from([None, "c1", "c2"])),
                timezone=draw(st.sampled_from(ZONES)),
                cohort_excluded=draw(st.booleans()),
                created_at=created_at,
                **scores,
            ),
        )
    events = draw(
        st.lists(
            st.builds(
                lambda number, age, kind, minutes: event(
                    f"u{number}",
                    at(as_of) - timedelta(seconds=age),
                    kind,
                    minutes,
                ),
                st.integers(0, len(users)),
                seconds,
                st.sampled_from(TASK_TYPES),
                st.sampled_from([0, 0.5, 1, 7.00025, 15, 30]),
            ),
            max_size=40,
        ),
    )
    return as_of, users, events
