"""Commands and scripts to whichever server has their keys, together; again where that is safe."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Hashable, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

from redis import exceptions

from relay.errors import StoreUnavailable
from relay.redis_address import RedisAddress, RedisWait
from relay.store.redis.connection import NOT_DONE, UNKNOWN, Command, RedisServer, is_not_done, translate
from relay.store.redis.topology import Topology

_log: Final = logging.getLogger("relay.store")
# What a failing batch waits before it is tried again, and how often: about two seconds, in which a connection
# that broke is made anew. A failover takes longer: who waits for it is told, and comes again.
RETRY_DELAYS: Final = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
HISTORY: Final = "coach:{history}:name"
_MET: Final = "coach:{history}:met"
_MARK: Final = "coach:{%d}:mark"
HISTORY_BYTES: Final = 16
MOVING: Final = "coach:{moving}:state"
"""There while `coach-relay migrate` fills this Redis, or was cut off."""
WAIT_MS: Final = 2_000  # for replicas: one that takes longer is not there


class Script:
    """A Lua script of this package."""

    def __init__(self, name: str) -> None:
        self.text = files(__package__).joinpath(name).read_text("utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()  # EVALSHA's

    def call(self, keys: Sequence[str], arguments: Sequence[str | bytes | int]) -> Call:
        """A call of it; all of the keys have one hash tag."""
        return Call(keys[0], ("EVALSHA", self.digest, len(keys), *keys, *arguments), self)


class Call(NamedTuple):
    """A command, a key of the slot that it works on, and the script that it runs, if it does."""

    key: str
    command: Command
    script: Script | None = None


class RedisClient:
    """One relay's way to Redis."""

    def __init__(self, address: RedisAddress, *, wait: RedisWait = RedisWait()) -> None:  # noqa: B008 - frozen
        self.topology = Topology(address, self._meet)
        self._history: bytes | None = None
        self._history_script = Script("history.lua")
        self.history_changed: Callable[[], None] = lambda: None
        """Told when what had been acknowledged may be missing."""
        self.wait = wait
        self._mark = Script("mark.lua")
        self._wait: Command = ("WAIT", wait.replicas, WAIT_MS)
        if wait.aof:
            self._wait = ("WAITAOF", 1, wait.replicas, WAIT_MS)

    def lane(self, key: str) -> Hashable:
        """What keys share that one server has: its address in a cluster, as far as is known."""
        if not self.topology.is_cluster:
            return ""
        try:
            return self.topology.server_of(key).name
        except exceptions.ConnectionError:
            return ""

    async def run(self, call: Call, *, again: bool, barrier: bool = True) -> Any:
        """What a call answers; as `run_all`."""
        return (await self.run_all([call], again=again, barrier=barrier))[0]

    async def run_all(
        self, calls: Sequence[Call], *, again: bool, barrier: bool = True, at_once: bool = False
    ) -> list[Any]:
        """The answers to calls that go out together, to each server once; raises `StoreError`.

        With `again` the calls may be done twice: then they are tried again when nobody knows whether they
        were done. With `barrier`, what they wrote *and what they have read* is where `wait` wants it at the
        end. With `at_once`, which is for calls that may be done twice, a server does what it is sent in one
        step where it can, and syncs its disk once.
        """
        answers: list[Any] = [None] * len(calls)
        left = list(range(len(calls)))
        failure: Exception = StoreUnavailable("Redis was not asked")
        for delay in RETRY_DELAYS:
            await self._pause(delay, failure)
            failed = await self._round(calls, left, answers, barrier=barrier, at_once=at_once)
            if not failed:
                return answers
            left = [number for number, _ in failed]
            failure = failed[0][1]
            for _, error in failed:
                if not (
                    is_not_done(error) or _has_no_script(error) or (again and isinstance(error, UNKNOWN))
                ):
                    raise translate(error) from error
        raise translate(failure) from failure

    async def look_around(self) -> None:
        """Find the servers; raises `StoreError`."""
        try:
            await self.topology.refresh()
        except (exceptions.RedisError, OSError, TimeoutError) as error:
            raise translate(error) from error

    async def close(self) -> None:
        await self.topology.close()

    # The history

    async def begin_history(self, history: bytes) -> None:
        """Begin a history; raises `StoreError`."""
        await self.run(Call(HISTORY, ("SET", HISTORY, history)), again=True)
        self.saw_history(history)

    def saw_history(self, history: bytes) -> None:
        """Note which history the servers are in."""
        before, self._history = self._history, history
        if before is not None and before != history:
            _log.warning("the store began another history: devices compare, and repair what is missing")
            self.history_changed()

    async def _meet(self, identity: str) -> None:
        """Note that a server is there as somebody new, before it is asked for anything; raises its errors.

        It may be a replica that became the primary, without the last that the one before had acknowledged.
        """
        met = [identity]
        if self._history is None:  # the first to be met come together: that there are several is nothing new
            met += [await server.identity() for server in self.topology.servers()]
        keeper = self.topology.server_of(HISTORY)
        call = self._history_script.call((HISTORY, _MET), (os.urandom(HISTORY_BYTES), *met))
        command = ("EVAL", self._history_script.text, *call.command[2:])
        barrier = self._barrier(self.topology.key_on(keeper, _MARK)) if self.wait else []
        history, *waited = await keeper.send([command, *barrier], meet=False)
        if isinstance(history, Exception):
            raise history
        self._check_barrier(waited)
        self.saw_history(history)

    async def _pause(self, delay: float, failure: Exception) -> None:
        if delay and not _has_no_script(failure):
            await asyncio.sleep(delay)
        if delay or not self.topology.version:
            try:
                await self.topology.refresh()
            except (exceptions.RedisError, OSError, TimeoutError) as error:
                if delay == RETRY_DELAYS[-1]:
                    raise translate(error) from error

    async def _round(
        self, calls: Sequence[Call], left: list[int], answers: list[Any], *, barrier: bool, at_once: bool
    ) -> list[tuple[int, Exception]]:
        """Send what is left; what failed, and how."""
        of_server: dict[RedisServer, list[int]] = {}
        try:
            for number in left:
                of_server.setdefault(self.topology.server_of(calls[number].key), []).append(number)
        except exceptions.ConnectionError as error:  # nobody is known to have it: nothing was sent
            return [(number, exceptions.ClusterDownError(str(error))) for number in left]
        if len(of_server) == 1:
            ((server, numbers),) = of_server.items()
            return await self._send(server, calls, numbers, answers, barrier=barrier, at_once=at_once)
        rounds = [
            self._send(server, calls, numbers, answers, barrier=barrier, at_once=at_once)
            for server, numbers in of_server.items()
        ]
        return [one for failed in await asyncio.gather(*rounds) for one in failed]

    async def _send(
        self,
        server: RedisServer,
        calls: Sequence[Call],
        numbers: list[int],
        answers: list[Any],
        *,
        barrier: bool,
        at_once: bool,
    ) -> list[tuple[int, Exception]]:
        commands = [calls[number].command for number in numbers]
        # A transaction across slots is refused.
        wraps = at_once and len(commands) > 1 and not self.topology.is_cluster
        if wraps:
            commands = [("MULTI",), *commands, ("EXEC",)]
        sent = len(commands)
        try:
            if barrier and self.wait:
                commands += self._barrier(self.topology.key_on(server, _MARK))
            found = await server.send(commands)
            self._check_barrier(found[sent:])
        except (*UNKNOWN, exceptions.ResponseError) as error:
            return [(number, error) for number in numbers]
        del found[sent:]
        if wraps:
            found = unwrap(found)
        failed: list[tuple[int, Exception]] = []
        unknown: dict[str, Script] = {}
        for number, answer in zip(numbers, found, strict=True):
            if isinstance(answer, exceptions.AskError) and not isinstance(answer, exceptions.MovedError):
                answer = await self._ask(answer, calls[number])
            if isinstance(answer, Exception):
                failed.append((number, answer))
                script = calls[number].script
                if _has_no_script(answer) and script is not None:
                    unknown[script.digest] = script
            else:
                answers[number] = answer
        for script in unknown.values():
            await server.send([("SCRIPT", "LOAD", script.text)])
        return failed

    async def _ask(self, moving: exceptions.AskError, call: Call) -> Any:
        """A slot on its way to another server: that one is asked for this once."""
        server = self.topology.by_name(moving.host, moving.port)
        command = call.command
        if call.script is not None:
            command = ("EVAL", call.script.text, *command[2:])
        tag, closing, _ = call.key.partition("}")
        # It is for one command that ASKING counts.
        barrier = [("ASKING",), *self._barrier(f"{tag}{closing}:mark")] if self.wait else []
        try:
            _, answer, *waited = await server.send([("ASKING",), command, *barrier])
            self._check_barrier(waited[1:])
        except UNKNOWN as error:
            return error
        return answer

    def _barrier(self, key: str) -> list[Command]:
        """What goes behind commands so that all they wrote and have read is where `wait` wants it.

        From Redis 7.2 on a wait is for what its own connection wrote last: so it writes, always.
        """
        return [("EVAL", self._mark.text, 1, key), self._wait]

    def _check_barrier(self, answers: Sequence[Any]) -> None:
        """Raise `StoreUnavailable` if fewer servers have what was written than the operator wants, and one of
        `UNKNOWN` if they were not asked."""
        if not answers:
            return
        mark, answer = answers
        if isinstance(mark, NOT_DONE):
            raise exceptions.ConnectionError("its keys are on their way to another server")
        if isinstance(mark, Exception):
            raise StoreUnavailable("Redis does not take the write that redis_wait needs") from mark
        if isinstance(answer, Exception):
            raise StoreUnavailable("Redis does not know what redis_wait asks of it") from answer
        if self.wait.aof:
            local, replicas = answer
            if local < 1:
                raise StoreUnavailable("the Redis primary did not make it durable in time")
        else:
            replicas = answer
        if replicas < self.wait.replicas:
            raise StoreUnavailable("fewer replicas have it than redis_wait asks for")


def unwrap(found: list[Any]) -> list[Any]:
    """The answers to the commands of a transaction: if one could not even be queued, none was done."""
    begun, *queued, done = found
    if isinstance(done, list):
        return done
    why = next((answer for answer in (begun, *queued) if isinstance(answer, Exception)), done)
    return [why] * len(queued)


def _has_no_script(error: Exception) -> bool:
    return isinstance(error, exceptions.NoScriptError)
