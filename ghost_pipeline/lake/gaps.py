"""Missing hours of event tables: an hour without events has an empty file, so a missing file is a missing hour.

Silences of more than 31 days have no files and are no gaps.
"""

from collections.abc import Iterable
from datetime import datetime

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.errors import LakeError
from ghost_pipeline.windows import HOUR, Hour, hours, without_silence

_SHOWN = 3


def missing_hours(written: list[Hour], as_of: datetime) -> list[Hour]:
    """The hours before `as_of`, from the first of the written hours (ascending) on, that are missing; ascending."""
    if not written or len(written) == (as_of - written[0].start) // HOUR:
        return []
    present = set(written)
    return [hour for hour in without_silence(written, written[0].start, as_of) if hour not in present]


def require_gapless(
    contract: Contract, written: list[Hour], as_of: datetime, window: Iterable[Hour] | None = None
) -> None:
    """Require that no hour before `as_of` is missing or, given a window, none of its hours.

    Raises:
        LakeError: names the missing hours.

    """
    missing = missing_hours(written, as_of)
    if missing and window is not None:
        wanted = sorted(window)
        missing, as_of = sorted(set(missing) & set(wanted)), wanted[-1].as_of
    if missing:
        shown = ", ".join(hour.key for hour in missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise LakeError(
            f"{contract.name}: {len(missing)} of {(as_of - written[0].start) // HOUR} hours before "
            f"{as_of:%Y-%m-%dT%H:%MZ} are not in the lake ({shown}). Materialize {contract.name} for the hour "
            f"that ends then, or for a later one: it fills them in",
        )


def require_gapless_until(contract: Contract, written: list[Hour], as_of: datetime) -> None:
    """Require that no hour before `as_of` is missing; hours written after it tell whether some are a silence.

    Raises:
        LakeError: names the missing hours.

    """
    require_gapless(contract, written, max(as_of, written[-1].as_of), hours(written[0].start, as_of))
