"""What a step keeps to be quicker next time: frames beside the tables of the lake, in `.cache`.

Nothing here is needed. A frame that is missing, damaged or of another shape counts as one without rows, and the folder
may be deleted at any time. Ids of people are in it: whoever removes a person empties it.
"""

from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import polars as pl

from ghost_pipeline.lake.atomic import remove_file, remove_folder, replacing

CACHE = ".cache"
_SEAL = sha256().digest_size


class Cache:
    """The frames that are kept for one table."""

    def __init__(self, lake: Path, table: str) -> None:
        """Open the cache of a table; nothing is created before the first write."""
        self._lake, self._folder = lake, lake / CACHE / table

    def read(self, name: str, schema: pl.Schema) -> pl.DataFrame:
        """The frame that was kept by that name; without rows where none is whole and has these columns."""
        try:
            content = memoryview(self._path(name).read_bytes())
        except OSError:
            return schema.to_frame()
        # No format of frames tells that one of its bytes has been altered.
        if sha256(content[_SEAL:]).digest() != content[:_SEAL]:
            return schema.to_frame()
        frame = pl.read_ipc(BytesIO(content[_SEAL:]))
        return frame if frame.schema == schema else schema.to_frame()

    def write(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Keep frames by their names in place of those before.

        Raises:
            LakeError: they cannot be written; those before stay.

        """
        # The seal tells what a power cut leaves half written: to wait for the disk would cost more than it is worth.
        with replacing(self._lake, flush=False) as replacements:
            for name, frame in frames.items():
                buffer = BytesIO()
                frame.write_ipc(buffer, compression="lz4")
                content = buffer.getbuffer()
                with replacements.add(self._path(name)).open("wb") as file:
                    file.write(sha256(content).digest())
                    file.write(content)

    def remove(self, name: str) -> None:
        """Forget a frame.

        Raises:
            LakeError: it cannot be removed.

        """
        remove_file(self._lake, self._path(name))

    def names(self, folder: str) -> list[str]:
        """The names of the frames that are kept in a folder of the table's."""
        return [f"{folder}/{path.stem}" for path in (self._folder / folder).glob("*.arrow")]

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.arrow"


def clear_cache(lake: Path) -> None:
    """Forget everything that is kept beside the tables of a lake.

    Raises:
        LakeError: it cannot be removed.

    """
    if (lake / CACHE).exists():
        remove_folder(lake, lake / CACHE)
