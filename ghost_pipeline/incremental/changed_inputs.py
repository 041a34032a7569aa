"""Which hours of its inputs a step that works hour by hour has to look at again."""

from collections.abc import Iterable

import polars as pl

from ghost_pipeline.contracts.contract import Contract
from ghost_pipeline.lake.cache import Cache
from ghost_pipeline.lake.lake import Lake
from ghost_pipeline.lake.reading import FILE_VERSION_SCHEMA
from ghost_pipeline.windows import Hour

_SEEN = "seen"


class ChangedInputs:
    """The hours of some tables that a step has seen as they are now, and the others."""

    def __init__(self, lake: Lake, table: Contract, inputs: Iterable[Contract], hour: Hour) -> None:
        """Compare the files of the hours up to `hour` with those that were seen.

        Raises:
            LakeError: hours of an input are missing; names them.

        """
        self._cache = Cache(lake.root, table.name)
        self._versions = lake.file_versions(inputs, hour.as_of)
        kept = self._cache.read(_SEEN, FILE_VERSION_SCHEMA)
        self._later = kept.filter(pl.col("hour") >= hour.as_of)
        seen = self._versions.join(kept, on="file_version", how="semi")["hour"]
        there = {Hour.containing(start) for start in seen} & set(lake.hours(table))
        self.changed = [one for start in self._versions["hour"] if (one := Hour.containing(start)) not in there]
        """The hours whose files are others, and those that `table` has not, ascending."""

    def keep(self) -> None:
        """Keep that the changed hours have been seen, as they were when this was made."""
        if self.changed:
            self._cache.write({_SEEN: pl.concat([self._versions, self._later])})
