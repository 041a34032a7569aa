"""Whether the files of what is published belong to one publication, for people and for monitoring."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ghost_pipeline.errors import NothingPublishedError
from ghost_pipeline.lake.opening import open_files
from ghost_pipeline.locations import Location
from ghost_pipeline.publish.database_file import REPAIR
from ghost_pipeline.publish.database_reader import PublishedDatabase
from ghost_pipeline.publish.json_files import FILES_BESIDE
from ghost_pipeline.publish.private_copies import sha256_of
from ghost_pipeline.publish.publication_record import (
    PUBLICATION_FILE,
    PartFile,
    PublicationName,
    read_record,
)
from ghost_pipeline.settings import Settings

_NO_CONTENTS = (
    "Run `ghost-pipeline backfill --stale`: an earlier release built the newest month, and did not record what the "
    "file holds. If the lake has no month, remove the file"
)


def published_name(database: Location) -> PublicationName | None:
    """Which publication readers answer from; None without one, or if an earlier release wrote it.

    Raises:
        PublishError: it cannot be read.

    """
    published = _published(database)
    return published.name if published else None


def differing_files(place: Location, name: PublicationName | None) -> list[str]:
    """Files beside the database that are missing or belong to another publication, by name; hashes the JSON files.

    Raises:
        LakeError: a bucket cannot be read.

    """
    files = open_files(place)
    record = read_record(files)
    there = {path.name: path for path in files.located(FILES_BESIDE)}
    if name is None or (record is None and not there):
        # Of an earlier release, or copied without them.
        return []
    if record is None or record.id != name.id:
        return [PUBLICATION_FILE, *sorted(there)]
    of_publication = [one for one in FILES_BESIDE if one in record.files or one in there]
    return [one for one in of_publication if one not in there or _part(there[one]) != record.files.get(one)]


def file_differences(settings: Settings) -> Iterator[str]:
    """What of the data folder is not of the publication that readers answer from, each with its remedy.

    Raises:
        PublishError: the publication cannot be read.
        LakeError: storage cannot be read.

    """
    published = _published(settings.database)
    if published is None:
        return
    if published.fault:
        yield published.fault
    name, record = published.name, read_record(open_files(settings.place))
    for file in differing_files(settings.place, name):
        if name and record and record.id == name.id and file not in record.files:
            yield f"{settings.place / file}: belongs to no publication. {_NO_CONTENTS}"
        else:
            yield f"{settings.place / file}: is missing or belongs to another publication. {REPAIR}"


def _published(database: Location) -> PublishedDatabase | None:
    with suppress(NothingPublishedError):
        return PublishedDatabase.open(database)
    return None


def _part(path: Path) -> PartFile | None:
    try:
        return PartFile(path.stat().st_size, sha256_of(path))
    except OSError:
        return None
