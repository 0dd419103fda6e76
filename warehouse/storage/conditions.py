"""Objects that are written only if they are as the writer saw them last: what locks are made of."""

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.storage.addresses import ObjectPath
from gatehouse.warehouse.storage.faults import PRECONDITION, code_of, fault


@dataclass(frozen=True)
class Found:
    """An object as it was read: its content, its tag, and its age in seconds by the server's clock.

    The age compares two times of one clock, so that no clock of a writer matters.
    """

    content: bytes
    tag: str
    age: float


class ConditionalObjects(Protocol):
    """Objects of one bucket."""

    def create(self, place: ObjectPath, content: bytes) -> str | None:
        """Write an object that is not there and return its tag; None if it is there."""

    def replace(self, place: ObjectPath, content: bytes, tag: str) -> str | None:
        """Write an object that still has a tag and return its new one; None if it has not."""

    def delete(self, place: ObjectPath, tag: str) -> None:
        """Remove an object that still has a tag; any other stays."""

    def read(self, place: ObjectPath) -> Found | None:
        """Return an object; None if it is not there."""


class S3Objects:
    """Objects by S3's If-None-Match and If-Match.

    Args:
        files: an s3fs file system.
    """

    def __init__(self, files: Any) -> None:
        self._files = files

    def create(self, place: ObjectPath, content: bytes) -> str | None:
        """As of ConditionalObjects."""
        return self._put(place, content, IfNoneMatch="*")

    def replace(self, place: ObjectPath, content: bytes, tag: str) -> str | None:
        """As of ConditionalObjects."""
        return self._put(place, content, IfMatch=tag)

    def _put(self, place: ObjectPath, content: bytes, **condition: str) -> str | None:
        answer = self._call("put_object", place, Body=content, **condition)
        return answer and str(answer["ETag"])

    def delete(self, place: ObjectPath, tag: str) -> None:
        """As of ConditionalObjects."""
        self._call("delete_object", place, IfMatch=tag)

    def read(self, place: ObjectPath) -> Found | None:
        """As of ConditionalObjects."""
        answer = self._call("get_object", place)
        if answer is None:
            return None
        now = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
        age = (now - answer["LastModified"]).total_seconds()
        return Found(answer["Content"], str(answer["ETag"]), age)

    def _call(self, method: str, place: ObjectPath, **arguments: Any) -> Any:
        """Return S3's answer; None if the object is not there, or not as the condition says."""
        from fsspec.asyn import sync

        async def ask() -> Any:
            name = place.key.partition("/")[2]
            answer = await self._files._call_s3(method, Bucket=place.bucket, Key=name, **arguments)
            if "Body" in answer:
                async with answer["Body"] as body:
                    answer["Content"] = await body.read()
            return answer

        try:
            return sync(self._files.loop, ask)
        except Exception as error:
            code = code_of(error)
            if code in PRECONDITION or (
                isinstance(error, FileNotFoundError) and code != "NoSuchBucket"
            ):
                return None
            raise fault(place, error) from None


KNOWN = {"s3": S3Objects, "s3a": S3Objects}
"""Protocol -> what writes on a condition there. For gs it would be `ifGenerationMatch`, for abfs
If-Match as for S3; neither has been tried, so neither is here."""


def conditional(place: ObjectPath, files: Any) -> ConditionalObjects:
    """Return what writes on a condition where a place is.

    Raises:
        GatehouseError: nothing that Gatehouse knows does: such a lake can be read only.
    """
    if place.protocol not in KNOWN:
        raise GatehouseError(
            f"a lake in {place.protocol}:// can be read, but not written: Gatehouse knows no write "
            "on a condition there, which keeps two processes apart; capture into s3:// or a home"
        )
    return KNOWN[place.protocol](files)
