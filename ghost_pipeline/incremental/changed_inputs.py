"""The input hours that a step which works hour by hour has to process again."""

from collections.abc import Iterable

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.stable_hash import row_hashes, text_hash
from ghost_pipeline.windows import Hour

_PROCESSED = "processed"
_PROCESSED_SCHEMA = pl.Schema({"hour": pl.Datetime("us", "UTC"), "inputs": pl.UInt64(), "file_version": pl.UInt64()})
"""An hour, a hash of its inputs, and the version of the table's file that was made of them."""
INPUT_SCHEMA = pl.Schema({"hour": pl.Datetime("us", "UTC"), "hash": pl.UInt64()})
"""Inputs that are no files of the lake: a hash for each hour that has some."""


class ChangedInputs:
    """Which hours of a table have to be computed again: their inputs changed, or the table's files are others."""

    def __init__(
        self,
        lake: Lake,
        table: Contract,
        inputs: Iterable[Contract],
        hour: Hour,
        *,
        window: Iterable[Hour] | None = None,
        others: pl.DataFrame | None = None,
        computed_by: str = "",
    ) -> None:
        """Compare the inputs of the hours up to `hour` with those of the last `keep`.

        Args:
            lake: the lake.
            table: the table that follows from the inputs, hour by hour.
            inputs: tables of the lake.
            hour: the last hour.
            window: the hours to look at; None: all that an input has.
            others: inputs that are not in the lake, in `INPUT_SCHEMA`.
            computed_by: settings that the rows follow from, and the version of the code.

        Raises:
            LakeError: hours of an input are missing, if no window is given; names them.

        """
        self._lake, self._table = lake, table
        self._cache = Cache(lake.root, table.name)
        starts = None if window is None else sorted(one.start for one in window)
        self._since = min(starts, default=hour.start) if starts is not None else None
        versions = lake.file_versions(inputs, hour.as_of, since=self._since)
        if starts is not None:
            hours = pl.DataFrame({"hour": starts}, {"hour": FILE_VERSION_SCHEMA["hour"]})
            versions = hours.join(versions, on="hour", how="left")
        inputs_of = versions.join(INPUT_SCHEMA.to_frame() if others is None else others, on="hour", how="left")
        hashes = row_hashes(inputs_of.select("file_version", "hash", pl.lit(text_hash(computed_by), pl.UInt64)))
        self._inputs = inputs_of.select("hour", hashes.alias("inputs")).sort("hour")
        kept = self._cache.read(_PROCESSED, _PROCESSED_SCHEMA)
        self._others = kept.join(self._inputs, on="hour", how="anti")
        changed = self._with_files().join(kept, on=_PROCESSED_SCHEMA.names(), how="anti").sort("hour")
        self.changed = [Hour.containing(start) for start in changed["hour"]]
        """The hours to compute, ascending."""

    def keep(self) -> None:
        """Record the changed hours as processed, now that the table has their files."""
        if self.changed:
            self._cache.write({_PROCESSED: pl.concat([self._with_files(), self._others])})

    def _with_files(self) -> pl.DataFrame:
        """The inputs of the hours, with the versions of the table's files, null where there is none."""
        files = self._lake.file_versions_of(self._table, since=self._since)
        return self._inputs.join(files, on="hour", how="left")
