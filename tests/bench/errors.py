"""What keeps the benchmark from a figure: each is one sentence for whoever runs it."""

from __future__ import annotations


class BenchError(Exception):
    """There is no figure, and the message says why."""


class ProcessError(BenchError):
    """A process that is needed did not do its part."""


class ConnectionEndedError(BenchError):
    """A server ended a connection, never opened it, or fell silent on it."""


class UnexpectedError(BenchError):
    """A server, or what is measured, did something else than is measured."""
