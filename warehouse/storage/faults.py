"""What goes wrong with a bucket, each in one line with the way out, and without credentials."""

from collections.abc import Iterator
from contextlib import contextmanager

from gatehouse.warehouse.errors import GatehouseError
from gatehouse.warehouse.plain_text import quoted
from gatehouse.warehouse.storage.addresses import ObjectPath

PRECONDITION = (
    "PreconditionFailed",
    "412",
    "ConditionalRequestConflict",
    "409",
    "BlobAlreadyExists",
    "ConditionNotMet",
)
"""Codes of a server that did not do what was asked on a condition."""

UNREACHABLE = (
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ProxyConnectionError",
    "SSLError",
    "ServiceRequestError",
)
BROKEN_OFF = (
    "ReadTimeoutError",
    "ConnectionClosedError",
    "ResponseStreamingError",
    "IncompleteRead",
    "IncompleteReadError",
    "ClientPayloadError",
    "HTTPClientError",
    "FSTimeoutError",
    "TimeoutError",
    "ClientError",
    "ServiceResponseError",
)
UNANSWERED = (
    "see that the server named in the environment (for s3 AWS_ENDPOINT_URL, for abfs "
    "AZURE_STORAGE_CONNECTION_STRING) and the network are right, and run the same command again"
)
"""The way out where nothing answers."""

NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")
DENIED = ("AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch")
"""Words of Azure, whose errors have one class."""

NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "UnauthorizedSSOTokenError",
    "InvalidConfigError",
    "ConfigParseError",
    "ClientAuthenticationError",
)
"""Classes of aiobotocore, azure, aiohttp and fsspec, which are not imported for their names."""

CREDENTIALS = (
    "set them in the environment, for s3 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_PROFILE; for abfs AZURE_STORAGE_CONNECTION_STRING"
)
"""The way out without credentials."""


@contextmanager
def faults_of(place: ObjectPath) -> Iterator[None]:
    """Turn what a bucket says in the block into one line; that an object is missing stays as it is.

    Raises:
        GatehouseError: the bucket cannot be reached, denies this, or is not there.
        FileNotFoundError: the object is not there.
    """
    try:
        yield
    except GatehouseError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and code_of(error) not in NO_BUCKET:
            raise
        raise fault(place, error) from None


def fault(place: ObjectPath, error: BaseException) -> GatehouseError:
    """Return the line on an error of a bucket."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    where = f"{place.protocol}://{place.bucket}"
    code = code_of(error)
    if code in NO_BUCKET:
        return GatehouseError(f"there is no bucket {where}: make it, or name another with --lake")
    if isinstance(error, PermissionError) or code in DENIED:
        return GatehouseError(
            f"{where} denies access to {place} ({code or 'denied'}): give these credentials the "
            "right to list, read, write and delete there, or set others in the environment"
        )
    if kinds & set(NO_CREDENTIALS):
        return GatehouseError(
            f"there are no credentials for {where} ({type(error).__name__}): {CREDENTIALS}"
        )
    if kinds & set(UNREACHABLE) or isinstance(error, ConnectionRefusedError):
        return GatehouseError(f"nothing answers for {where}: {UNANSWERED}")
    if kinds & set(BROKEN_OFF) or isinstance(error, OSError):
        return GatehouseError(
            f"the exchange of {place} with its bucket broke off "
            f"({quoted(code or str(error) or type(error).__name__)}): run the same command again; "
            "what has landed stays"
        )
    return GatehouseError(
        f"{where} cannot be used ({type(error).__name__}: {quoted(error)}): put that right in the "
        "environment, and run the same command again"
    )


def code_of(error: BaseException) -> str:
    """Return the server's word for an error; nothing where there is none."""
    for each in (error, error.__cause__):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code", ""))
        if word := getattr(each, "error_code", None):
            return str(getattr(word, "value", word))
    return ""
