"""The input hours that a step which works hour by hour has to process again."""

from collections.abc import Iterable

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.windows import Hour

_PROCESSED = "processed"


class ChangedInputs:
    """Which input hours changed since this table was last computed."""

    def __init__(self, lake: Lake, table: Contract, inputs: Iterable[Contract], hour: Hour) -> None:
        """Compare the files of the hours up to `hour` with those of the last `keep`.

        Raises:
            LakeError: hours of an input are missing; names them.

        """
        self._cache = Cache(lake.root, table.name)
        self._versions = lake.file_versions(inputs, hour.as_of)
        kept = self._cache.read(_PROCESSED, FILE_VERSION_SCHEMA)
        self._later = kept.filter(pl.col("hour") >= hour.as_of)
        processed = self._versions.join(kept, on="file_version", how="semi")["hour"]
        unchanged = {Hour.containing(start) for start in processed} & set(lake.hours(table))
        self.changed = [one for start in self._versions["hour"] if (one := Hour.containing(start)) not in unchanged]
        """The hours whose files were replaced, and those that `table` lacks, ascending."""

    def keep(self) -> None:
        """Record the changed hours as processed, in the versions that this object found."""
        if self.changed:
            self._cache.write({_PROCESSED: pl.concat([self._versions, self._later])})
