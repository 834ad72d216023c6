"""How the parts of the OpenAPI document are written, once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from relay.http.problems import CONTENT_TYPE

Schema = dict[str, Any]

# Why a portal is refused, by status; every operation may also answer with those of `_ALWAYS`.
_REFUSALS: Final[dict[int, str]] = {
    400: "The request is not of this form.",
    401: "The API key is not one of a portal.",
    403: "A quota of the portal is used up (`quota_exceeded`; `quota` and `limit` say which).",
    404: "There is no such object, or it is another portal's: the two look the same.",
    409: "The engagement has ended, or was changed by another request at the same time.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The Idempotency-Key was used for another request.",
    429: "Too many requests; Retry-After says when to try again.",
    503: "The relay is going down, or its storage does not answer; Retry-After says when to try again.",
    507: "The relay has no room left.",
}
_ALWAYS: Final = (401, 429, 503)


def ref(schema: str) -> Schema:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{schema}"}


def record(*, optional: Mapping[str, Schema] = MappingProxyType({}), **required: Schema) -> Schema:
    """An object with these members, and no others."""
    schema: Schema = {"type": "object", "additionalProperties": False}
    if required:
        schema["required"] = list(required)
    return {**schema, "properties": {**required, **optional}}


def parameter(place: str, name: str, schema: Schema, description: str = "") -> Schema:
    """A parameter; those of a path are required."""
    found: Schema = {"name": name, "in": place, "required": place == "path", "schema": schema}
    return {**found, "description": description} if description else found


def problems(*statuses: int) -> Schema:
    """The refusals of an operation, and those of every one."""
    return {
        str(status): {"$ref": f"#/components/responses/{_name(status)}"} for status in (*statuses, *_ALWAYS)
    }


def operation(
    name: str,
    summary: str,
    *,
    parameters: Sequence[Schema] = (),
    body: str = "",
    answers: Mapping[int, str | None],
    refusals: Schema,
    location: bool = False,
) -> Schema:
    """One operation. `answers` names the schema of each good status, None where there is no body."""
    found: Schema = {"operationId": name, "summary": summary, "parameters": list(parameters)}
    if body:
        found["requestBody"] = {"required": True, "content": _json(body)}
    responses = {str(status): _answer(status, schema) for status, schema in answers.items()}
    if location:
        address = {"description": "Where it is.", "schema": {"type": "string"}}
        for response in responses.values():
            response["headers"] = {"Location": address}
    return {**found, "responses": dict(sorted({**responses, **refusals}.items()))}


def _answer(status: int, schema: str | None) -> Schema:
    found: Schema = {"description": HTTPStatus(status).phrase}
    return {**found, "content": _json(schema)} if schema else found


def _json(schema: str) -> Schema:
    return {"application/json": {"schema": ref(schema)}}


def _name(status: int) -> str:
    return HTTPStatus(status).name.title().replace("_", "")


RESPONSES: Final[Schema] = {
    _name(status): {"description": why, "content": {CONTENT_TYPE: {"schema": ref("Problem")}}}
    for status, why in _REFUSALS.items()
}
