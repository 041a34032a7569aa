"""The contract of the tombstones that are kept of erased people."""

import dataframely as dy

from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning


class ErasedPeople(dy.Schema):
    """Tombstones: keyed hashes of erased ids, so that no source brings them back."""

    erased_date = dy.Date(description="The UTC day of the erasure")
    tombstone = dy.String(
        primary_key=True,
        regex="^[0-9a-f]{64}$",
        description="HMAC-SHA256 of the id's column and the id, of a user or one of their sessions, keyboards, tasks",
    )
    key_check = dy.String(
        regex="^[0-9a-f]{64}$", description="HMAC-SHA256 of an empty text under the same key, to recognise the key"
    )
    under_way = dy.String(
        nullable=True,
        regex="^[0-9a-f]{64}$",
        description="Tombstone of the person while the erasure is unfinished and no source is read; then null",
    )


ERASED_PEOPLE = Contract(
    name="erased_people",
    schema=ErasedPeople,
    layer=Layer.OPERATIONS,
    partitioning=Partitioning.ERASED_DAY,
    grain="one id of an erased person",
)
