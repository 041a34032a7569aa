"""Frames that a step caches for its next run, in the folder `.cache` of the lake.

The cache may be deleted at any time: a frame that is missing, damaged or of another schema counts as one without rows,
and the next run reads its inputs again. Frames hold ids of people, so an erasure empties the cache.
"""

from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import polars as pl

from ghost_pipeline.lake.atomic import remove_file, remove_folder, replacing

CACHE = ".cache"
_HASH_BYTES = sha256().digest_size


class Cache:
    """The cached frames of one table."""

    def __init__(self, lake: Path, table: str) -> None:
        """Open the cache of a table; nothing is created before the first write."""
        self._lake, self._folder = lake, lake / CACHE / table

    def read(self, name: str, schema: pl.Schema) -> pl.DataFrame:
        """The frame of that name; without rows if there is none, or it is damaged or of another schema."""
        try:
            content = memoryview(self.path(name).read_bytes())
        except OSError:
            return schema.to_frame()
        # Arrow's format has no checksum: an altered byte would go unnoticed.
        if sha256(content[_HASH_BYTES:]).digest() != content[:_HASH_BYTES]:
            return schema.to_frame()
        frame = pl.read_ipc(BytesIO(content[_HASH_BYTES:]))
        return frame if frame.schema == schema else schema.to_frame()

    def write(self, frames: Mapping[str, pl.DataFrame]) -> None:
        """Replace frames, by name.

        Raises:
            LakeError: they cannot be written; the previous ones stay.

        """
        # The content hash reveals what a power cut leaves half written, so there is no need to wait for the disk.
        with replacing(self._lake, flush=False) as replacements:
            for name, frame in frames.items():
                buffer = BytesIO()
                frame.write_ipc(buffer, compression="lz4")
                content = buffer.getbuffer()
                with replacements.add(self.path(name)).open("wb") as file:
                    file.write(sha256(content).digest())
                    file.write(content)

    def remove(self, name: str) -> None:
        """Remove a frame.

        Raises:
            LakeError: it cannot be removed.

        """
        remove_file(self._lake, self.path(name))

    def clear(self) -> None:
        """Remove all frames of the table at once.

        Raises:
            LakeError: they cannot be removed.

        """
        if self._folder.exists():
            remove_folder(self._lake, self._folder)

    def names(self, folder: str) -> list[str]:
        """The names of the frames in a folder of the table's cache."""
        return [f"{folder}/{path.stem}" for path in (self._folder / folder).glob("*.arrow")]

    def path(self, name: str) -> Path:
        """The file of a frame."""
        return self._folder / f"{name}.arrow"


def clear_cache(lake: Path) -> None:
    """Remove all cached frames of a lake.

    Raises:
        LakeError: it cannot be removed.

    """
    if (lake / CACHE).exists():
        remove_folder(lake, lake / CACHE)
