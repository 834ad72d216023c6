"""Baseline: bare group commit without a network: one writer thread, SQLite with `synchronous=FULL` (apsw).

`python -m tests.bench.groupcommit PATH full|paced SECONDS [RATE]` prints its figures as JSON. Its rows are as
large as the relay's, and lie in the order of their arrival.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import Any, Final

import apsw

PAYLOAD_BYTES: Final = 512
BATCH: Final = 256
_STREAMS: Final = 100
_Row = tuple[int, int, int, bytes]
_INSERT: Final = "INSERT INTO entries VALUES (NULL, ?, ?, ?, ?)"


def open_store(path: str) -> Any:
    """A WAL database whose commits are durable when they return."""
    connection = apsw.Connection(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    columns = "position INTEGER PRIMARY KEY, stream INTEGER, seq INTEGER, time_ms INTEGER, body BLOB"
    connection.execute(f"CREATE TABLE entries ({columns})")
    return connection


def _row(number: int) -> _Row:
    return number % _STREAMS, number // _STREAMS, 1_700_000_000_000, os.urandom(PAYLOAD_BYTES)


def _commit(connection: Any, rows: list[_Row]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")


def run_full(connection: Any, seconds: float) -> dict[str, float]:
    """Rows a second in full batches."""
    done, spent = 0, 0.0
    while spent < seconds:
        rows = [_row(number) for number in range(done, done + BATCH)]
        start = time.perf_counter()
        _commit(connection, rows)
        spent += time.perf_counter() - start
        done += BATCH
    return {"rows_per_second": done / spent}


def run_paced(connection: Any, seconds: float, rate: float) -> dict[str, list[float]]:
    """From handing a row to the writer thread until it is durable, at so many rows a second."""
    waiting: queue.SimpleQueue[tuple[float, _Row] | None] = queue.SimpleQueue()
    latencies: list[float] = []

    def write() -> None:
        stopping = False
        while not stopping:
            batch = [waiting.get()]
            while len(batch) < BATCH and not waiting.empty():
                batch.append(waiting.get())
            due = [item for item in batch if item is not None]
            stopping = len(due) < len(batch)
            if due:
                _commit(connection, [row for _, row in due])
                now = time.perf_counter()
                latencies.extend(now - sent for sent, _ in due)

    writer = threading.Thread(target=write)
    writer.start()
    rows = [_row(number) for number in range(int(rate * seconds))]
    start = time.perf_counter()
    for number, row in enumerate(rows):
        time.sleep(max(0.0, start + number / rate - time.perf_counter()))
        waiting.put((time.perf_counter(), row))
    waiting.put(None)
    writer.join()
    return {"latencies": latencies}


def main() -> None:
    """Measure once, in a database of its own."""
    path, mode, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
    connection = open_store(path)
    if mode == "full":
        print(json.dumps(run_full(connection, seconds)))
    else:
        print(json.dumps(run_paced(connection, seconds, float(sys.argv[4]))))
    connection.close()


if __name__ == "__main__":
    main()
