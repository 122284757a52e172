"""Files in a bucket of an S3-compatible store (Amazon S3, MinIO, SeaweedFS, Ceph, R2 and the like), through obstore.

What the store says when it refuses is never logged as it stands: some repeat the access key and what was signed.
"""

from __future__ import annotations

import re
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from app import log
from app.adapters.storage import ObjectStorage, StorageFull, Unreachable, check_key
from app.errors import NotFound
from app.lib import off_hub, outside
from app.lib.ids import new_id
from app.settings import Bucket

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Credential

logger = log.get(__name__)

SECONDS_SEEN = 60.0  # how long a bucket that was there is believed to be there still
LARGEST_DELETE = 1000
PATIENT: ClientConfig = {"connect_timeout": timedelta(seconds=5), "timeout": timedelta(seconds=60)}
HASTY: ClientConfig = {"connect_timeout": timedelta(seconds=2), "timeout": timedelta(seconds=5)}
RETRIES: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
}
NO_RETRIES: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=5)}

CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,60})</Code>")
STATUS = re.compile(r"status code: (\d{3})")
KEYS_REFUSED = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "InvalidSecurity")
ELSEWHERE = ("PermanentRedirect", "AuthorizationHeaderMalformed", "TemporaryRedirect", "IllegalLocationConstraint")
NO_ROOM = ("QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "XAmzStorageFull")
FORBIDDEN, INSUFFICIENT_STORAGE = 403, 507


class S3Storage(ObjectStorage):
    """A bucket, or the part of one under a prefix."""

    def __init__(self, bucket: Bucket, copies: Path) -> None:
        super().__init__(_connect(bucket, PATIENT, RETRIES), copies)
        self._hasty = _connect(bucket, HASTY, NO_RETRIES)
        self._bucket = bucket
        self._seen_at: float | None = None

    def delete_prefix(self, prefix: str) -> int:
        """See Storage. Many at a time: a talk of hours has hundreds of pieces."""
        check_key(prefix)
        keys = [key for key, _ in self.list_keys(prefix)]
        for start in range(0, len(keys), LARGEST_DELETE):
            self._ask(obstore.delete, self._store, keys[start : start + LARGEST_DELETE])
        return len(keys)

    def check(self, *, thoroughly: bool = False) -> str:
        """See Storage. One list request of a few bytes; thoroughly also a file written, read and removed."""
        self._ask(obstore.list_with_delimiter, self._hasty, "check")
        if thoroughly:
            key = f"check/{new_id()}"
            self._ask(obstore.put, self._hasty, key, b"ok")
            self._ask(obstore.get_range, self._hasty, key, start=0, end=2)
            self._ask(obstore.delete, self._hasty, key)
        return f"bucket {self._bucket.name} at {_host(self._bucket)}"

    def _ask(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        outside.before_outside_call()
        return super()._ask(function, *args, **kwargs)

    def _understand(self, error: Exception) -> Exception:
        if not isinstance(error, BaseError | FileNotFoundError):
            return super()._understand(error)  # a file of this machine
        said = str(error)
        code, status = _first(CODE, said), int(_first(STATUS, said) or 0)
        if isinstance(error, FileNotFoundError) and code != "NoSuchBucket":
            return NotFound() if self._is_bucket_there() else self._refused("NoSuchBucket", status)
        if code in NO_ROOM or status == INSUFFICIENT_STORAGE:
            return StorageFull()
        return self._refused(code, status)

    def _refused(self, code: str, status: int) -> Unreachable:
        found = Unreachable(_hint(self._bucket, code, status))
        logger.warning("storage.failed", reason=code or None, status=status or None, hint=found.hint)
        return found

    def _is_bucket_there(self) -> bool:
        """Tell a missing file from a missing bucket, which look alike when only the head of an answer is asked for.

        Taken for a missing file, a missing bucket would have people told that their talks are gone.
        """
        if self._seen_at is not None and time.monotonic() - self._seen_at < SECONDS_SEEN:
            return True
        try:
            off_hub.call(obstore.list_with_delimiter, self._hasty, "check")
        except FileNotFoundError:
            return False
        except BaseError as error:
            return _first(CODE, str(error)) != "NoSuchBucket"
        self._seen_at = time.monotonic()
        return True


def _connect(bucket: Bucket, client: ClientConfig, retries: RetryConfig) -> S3Store:
    address: dict[str, Any] = {}
    keys: S3Credential = {
        "access_key_id": bucket.access_key_id,
        "secret_access_key": bucket.secret_access_key,
        "token": None,
        "expires_at": None,
    }
    if bucket.endpoint:
        parts = urlsplit(bucket.endpoint)
        own = bucket.endpoint if bucket.is_path_style else f"{parts.scheme}://{bucket.name}.{parts.netloc}"
        address = {"endpoint": own, "aws_endpoint_url_s3": own}
    return S3Store(
        bucket.name,
        prefix=bucket.prefix or None,
        region=bucket.region,
        # Not as two plain values: beside these, what AWS_* variables say to other programs would be taken up too.
        credential_provider=lambda: keys,
        skip_signature=False,
        virtual_hosted_style_request=not bucket.is_path_style,
        disable_bulk_delete=True,  # several stores do not know it
        client_options={**client, "allow_http": bucket.endpoint.startswith("http://")},
        retry_config=retries,
        **address,
    )


def _hint(bucket: Bucket, code: str, status: int) -> str:
    host, name = _host(bucket), bucket.name
    if not status:
        return f"{host} does not answer. Is it up, and S3_ENDPOINT right?"
    if code == "NoSuchBucket":
        return f"There is no bucket {name} at {host}. Make it, or mend S3_BUCKET."
    if code in ELSEWHERE:
        return f"Bucket {name} is in another region than {bucket.region}. Mend S3_REGION."
    if code == "RequestTimeTooSkewed":
        return "The clocks of this machine and of the store differ too much. Set this machine's."
    if code in KEYS_REFUSED or status == FORBIDDEN:
        return (
            f"{host} refuses the keys. Mend S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY, "
            f"or let these list, read, write and delete in bucket {name}."
        )
    return f"{host} answers {status} {code}".rstrip() + ". Look at the store's log, S3_REGION and S3_ADDRESSING."


def _host(bucket: Bucket) -> str:
    return urlsplit(bucket.endpoint).netloc or "Amazon S3"


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found.group(1) if found else ""
