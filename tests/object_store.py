"""An S3 server of this process for tests, what it was asked, and a line to it that can break."""

import logging
import re
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.request import Request, urlopen

import pytest

from gatehouse.warehouse.storage import file_systems

REQUEST = re.compile(r'"(?:\x1b\[\d+m)*(GET|PUT|POST|HEAD|DELETE) (\S+) HTTP/1.1')


class Requests(logging.Handler):
    """What a server was asked, as it logs it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take in a line of the log."""
        if found := REQUEST.search(record.getMessage()):
            self.made.append(f"{found[1]} {found[2]}")

    def by_kind(self) -> Counter[str]:
        """Return how many there were of each method; a GET with a query lists."""
        return Counter(
            "LIST" if "list-type" in each else each.partition(" ")[0] for each in self.made
        )


class Server:
    """An S3 server on loopback, which forgets everything when it stops."""

    def __init__(self) -> None:
        from moto.server import ThreadedMotoServer

        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._log = logging.getLogger("werkzeug")

    def start(self) -> None:
        """Listen at a free port."""
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._server.start()
        self.host, self.port = self._server.get_host_and_port()
        self.address = f"http://{self.host}:{self.port}"

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop()

    @contextmanager
    def denying(self) -> Iterator[None]:
        """Know nobody in the block."""
        self._deny_after("0")
        try:
            yield
        finally:
            self._deny_after("inf")

    def _deny_after(self, requests: str) -> None:
        asked = Request(
            f"{self.address}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"}
        )
        with urlopen(asked) as answer:
            answer.read()

    @contextmanager
    def requests(self) -> Iterator[Requests]:
        """Take in what is asked in the block."""
        handler = Requests()
        self._log.addHandler(handler)
        try:
            yield handler
        finally:
            self._log.removeHandler(handler)


def use(server: Server, patch: pytest.MonkeyPatch, bucket: str = "bucket") -> None:
    """Let this process, and those it starts, keep objects in an empty bucket of a server."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIAWHOEVERWHOEVER12",
        "AWS_SECRET_ACCESS_KEY": "not-a-secret-of-anyone-0123456789",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": server.address,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nowhere",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
    }.items():
        patch.setenv(name, value)
    import fsspec

    files = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    with suppress(FileNotFoundError):
        files.rm(bucket, recursive=True)
    with suppress(FileExistsError):
        files.call_s3("create_bucket", Bucket=bucket)


def free_port() -> int:
    """Return a port of loopback where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def give_up_quickly(patch: pytest.MonkeyPatch) -> None:
    """Ask few times where a connection breaks, and at once, not often after longer pauses."""
    from aiobotocore.endpoint import AioEndpoint

    async def go_on(endpoint: AioEndpoint, seconds: float) -> None:
        assert seconds >= 0

    patch.setattr(AioEndpoint, "_sleep", go_on)
    patch.setattr(file_systems, "TRIES", 2)
    patch.setitem(file_systems.OPTIONS["s3"]["config_kwargs"]["retries"], "max_attempts", 1)


class BreakingLine:
    """A port that leads to a server, until so many bytes have gone over it.

    Args:
        port: the server's.
        back: bytes of all connections together that the server has answered, after which each is
            cut; None for any number.
        there: the same of bytes that were sent to it.
        cuts: after so many of them the line holds; None for never.
    """

    def __init__(
        self,
        port: int,
        back: int | None = None,
        there: int | None = None,
        cuts: int | None = None,
    ) -> None:
        self._target = port
        self._left = {True: back, False: there}
        self._most = cuts
        self.cuts = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def break_after(self, there: int | None) -> None:
        """Cut each connection after so many more bytes were sent over them; None: cut none."""
        self._left[False] = there

    def close(self) -> None:
        """Listen no more."""
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for pair in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, back: bool) -> None:
        with suppress(OSError):
            while (data := source.recv(65536)) and not self._is_cut(len(data), back):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _is_cut(self, size: int, back: bool) -> bool:
        left = self._left[back]
        if left is None:
            return False
        self._left[back] = left - size
        if left >= size:
            return False
        self.cuts += 1
        if self.cuts == self._most:
            self._left[back] = None
        return True
