"""What is told of a request to object storage that failed: the reason, never a credential or what a path may name."""

import pytest

from ghost_pipeline.object_storage import trouble

SECRET = "wJalr/EXAMPLE+KEY"  # noqa: S105 - of no storage


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("Generic S3 error: odd answer\n<Error>s3cr3t</Error>", "Generic S3 error: odd answer"),
        (
            "Generic S3 error: GET http://ada:s3cr3t@host:9000/bucket/users/user_id=ada/p.csv?X-Amz-Signature=s3cr3t",
            "Generic S3 error: GET http://host:9000/…",
        ),
        (f"Generic S3 error: {SECRET} is odd", "Generic S3 error: *** is odd"),
        (
            "Generic S3 error: at users/user_id=ada/p.csv something is odd",
            "Generic S3 error: at users/user_id=…/p.csv something is odd",
        ),
        (
            "Generic S3 error: status code: 500 Internal Server Error: <Code>Odd</Code>",
            "500 Internal Server Error: Odd",
        ),
    ],
)
def test_an_unknown_trouble_tells_no_credential(says: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert trouble(OSError(says), "GHOST_SOURCE", "list and read") == (told, "Look at the storage")
