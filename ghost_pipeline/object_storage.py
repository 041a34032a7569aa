"""Buckets of object storage (S3): opening one, and the reason and remedy of a request that failed.

The lake and the sources share it. The client's own message is many lines of requests and responses, which may cite a
key of access.
"""

import os
import re
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import S3Store

from ghost_pipeline.locations import ObjectAddress

RETRIES, RETRY_SECONDS = 3, 10
CONNECT_TIMEOUT, TIMEOUT = "5 seconds", "10 minutes"
"""The second limits a whole request, with all that it sends or fetches."""
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3}[^:\n]*)")
_URL = re.compile(r"https?://[^\s?]+")
_ANY_URL = re.compile(r"(\w+://)(?:[^/\s?]*@)?([^/\s?]*)[/?]\S*")
_IN_FOLDER = re.compile(r"([\w-]+)=[^/\s]+(?=/)")
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN", "AWS_ACCESS_KEY_ID")
_CREDENTIALS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_TROUBLES = (
    (r"<Code>NoSuchBucket<", "the bucket does not exist", "Create it, or correct {setting}"),
    (r"<Code>(InvalidAccessKeyId|SignatureDoesNotMatch|\w+Token)<", "the credentials are refused", _CREDENTIALS),
    (r"<Code>AccessDenied<|403 Forbidden", "access is denied", "Let these credentials {rights}"),
    (r"Missing (AccessKeyId|SecretAccessKey)", "a credential is missing", _CREDENTIALS),
    (r"://[^/\s]+/latest/", "there are no credentials, and the machine has no role", _CREDENTIALS),
    (r"http://.*builder error", "{host} is reached without TLS", "Set AWS_ALLOW_HTTP=true or use https"),
    (r"error sending request", "{host} cannot be reached", "Look at AWS_ENDPOINT_URL, AWS_REGION and the network"),
    (r"redirect", "the bucket is elsewhere", "Set AWS_REGION to that of the bucket"),
)
"""Patterns in the text of an error with their reason and remedy; the first match counts."""


def open_store(address: ObjectAddress) -> S3Store:
    """Return a client for the objects below an address; the variables `AWS_*` name credentials and endpoint.

    Raises:
        BaseError: the variables contradict one another.

    """
    return S3Store(
        address.bucket,
        prefix=address.key or None,
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        # Not as client options, which would override the variables that configure the client.
        config=cast("Any", {"connect_timeout": CONNECT_TIMEOUT, "timeout": TIMEOUT}),
    )


def is_of_storage(error: Exception) -> bool:
    """Return whether an error is the answer to a request: of this client, or of the one within polars."""
    return isinstance(error, BaseError) or "object-store error" in str(error)


def trouble(error: Exception, setting: str, rights: str) -> tuple[str, str]:
    """Return the reason why a request failed, and the remedy.

    Args:
        error: what `is_of_storage`.
        setting: the setting that holds the address.
        rights: what the credentials must be allowed to do.

    """
    text = str(error).partition("\n\nDebug source")[0]
    url = urlsplit(found[0]) if (found := _URL.search(text)) else urlsplit("")
    host = f"{url.hostname}:{url.port}" if url.port else f"{url.hostname}"
    for pattern, why, remedy in _TROUBLES:
        if re.search(pattern, text):
            return why.format(host=host), remedy.format(setting=setting, rights=rights)
    told = (found[1].strip() for found in (_STATUS.search(text), _CODE.search(text)) if found)
    return ": ".join(told) or _without_secrets(text.splitlines()[0]), "Look at the storage"


def _without_secrets(line: str) -> str:
    """Return the client's words without credentials, and of each address its host alone: a path may name a person."""
    for name in _SECRET_VARIABLES:
        if secret := os.environ.get(name):
            line = line.replace(secret, "***")
    return _IN_FOLDER.sub(r"\1=…", _ANY_URL.sub(r"\1\2/…", line))
