"""From a location to the files there."""

from ghost_pipeline.lake.local_files import Files, LocalFiles
from ghost_pipeline.lake.objects import ObjectFiles
from ghost_pipeline.locations import Location, Mirrored


def open_files(location: Location) -> Files:
    """The files below a folder, or below an address in a bucket; nothing is read or created yet."""
    return ObjectFiles(location) if isinstance(location, Mirrored) else LocalFiles(location)
