"""Dask's servers without their web pages, which would listen on ports of their own."""

from typing import Any

from distributed import Scheduler, Worker


class QuietScheduler(Scheduler):
    """A scheduler that serves no pages."""

    def start_http_server(self, *arguments: Any, **named: Any) -> None:
        """Listen on no port."""


class QuietWorker(Worker):
    """A worker that serves no pages."""

    def start_http_server(self, *arguments: Any, **named: Any) -> None:
        """Listen on no port."""
