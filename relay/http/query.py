"""Query strings, read strictly: the names that are asked for, each once."""

from __future__ import annotations

from aiohttp import web

from relay.http.problems import malformed


def read_query(request: web.Request, *names: str) -> dict[str, str]:
    """Return the query's parameters; raises `Problem` on one that has no such name or stands twice."""
    found = dict(request.query)
    if not found.keys() <= set(names):
        raise malformed(f"The query has a parameter that is none of {', '.join(names)}.")
    if len(found) != len(request.query):
        raise malformed("A parameter of the query stands twice.")
    return found
