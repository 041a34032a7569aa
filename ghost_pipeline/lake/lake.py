"""The lake: one folder per table, hive-style partitions, one Parquet file per partition and shard.

Parquet is the truth. A partition is replaced as a whole, by a rename or by one PUT, so a reader never waits and never
sees half a partition; `locking` coordinates concurrent runs. Files hold every column of the contract, so a single file
is readable without its path.
"""

from ghost_pipeline.lake.reading import LakeReading
from ghost_pipeline.lake.writing import LakeWriting


class Lake(LakeReading, LakeWriting):
    """The lake below one folder, or below an address in a bucket.

    `listing` finds partitions, `reading` reads them and `writing` replaces them.
    """
