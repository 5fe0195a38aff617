"""The OpenAPI 3.1 document, made from the table of routes and the descriptors, so that it cannot go stale."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from gateway.clients import RPCS, Rpc
from gateway.problems import CONTENT_TYPE
from gateway.routes import PAGES, ROUTES, Page, Route, Shape, variables
from gateway.schemas import DOCUMENTED, Schemas, bounds, reference
from gateway.transcoding.binding import Binding, Query
from gateway.transcoding.descriptors import FIELD_MASK, is_type, message_type
from services.runtime.identifiers import ID_PATTERN

Json = dict[str, Any]

_INTRODUCTION = (
    "Live features, recommendations and the catalogue of a shop. JSON is proto3 JSON in lowerCamelCase; what a "
    "request field is not known by is refused. Errors are problem documents of RFC 9457. X-Request-Id is echoed."
)


def document(version: str) -> Json:
    """The whole document; made once, at the start of the process."""
    schemas = Schemas()
    paths: dict[str, Json] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, RPCS[route.rpc], schemas)
    for page in PAGES:
        paths.setdefault(page.path, {})[page.method.lower()] = _page(page)
    return {
        "openapi": "3.1.0",
        "info": {"title": "windowshop", "version": version, "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": service} for service in dict.fromkeys(route.rpc.split(".")[0] for route in ROUTES)],
        "paths": paths,
        "components": {"schemas": schemas.components(), "responses": {"Problem": _problem()}},
    }


def _operation(route: Route, rpc: Rpc, schemas: Schemas) -> Json:
    operation: Json = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [route.rpc.split(".")[0]],
        "parameters": [_path_parameter(name) for name in variables(route.path)]
        + [_query_parameter(name, query, rpc) for name, query in route.request.query.items()],
        "responses": {
            "200": {
                "description": "The answer.",
                "content": {"application/json": {"schema": _answer(route, rpc, schemas)}},
            },
            "default": reference("responses", "Problem"),
        },
    }
    body = _body(route, rpc, schemas)
    if body:
        operation["requestBody"] = body
    return operation


def _answer(route: Route, rpc: Rpc, schemas: Schemas) -> Json:
    if route.response is Shape.PROTO_JSON:
        return schemas.answer(rpc.response)
    return reference("schemas", "FeatureValues" if route.response is Shape.FEATURE_VALUES else "FeatureColumns")


def _body(route: Route, rpc: Rpc, schemas: Schemas) -> Json | None:
    binding, descriptor = route.request, rpc.request
    if binding.lines is not None:
        line = schemas.request(message_type(descriptor.fields_by_name[binding.lines.items]))
        text = {"type": "string", "description": f"One object a line, each as {line['$ref'].rsplit('/', 1)[1]}."}
        return {"required": True, "content": {"application/x-ndjson": {"schema": text}}}
    if not binding.body:
        return None
    if binding.body == "*":
        schema = schemas.request(descriptor, without=_bound(route, binding))
    else:
        schema = schemas.request(message_type(descriptor.fields_by_name[binding.body]))
    return {"required": binding.required, "content": {"application/json": {"schema": schema}}}


def _bound(route: Route, binding: Binding) -> frozenset[str]:
    """The fields that come from the path: a body may repeat them, but none has to know."""
    return frozenset(binding.path.get(name, name) for name in variables(route.path))


def _path_parameter(name: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": f"^{ID_PATTERN}$"},
    }


def _query_parameter(name: str, query: Query, rpc: Rpc) -> Json:
    field = rpc.request.fields_by_name[query.field]
    parameter: Json = {"name": name, "in": "query", "required": False, "schema": _query_schema(field) | bounds(field)}
    if query.description:
        parameter["description"] = query.description
    if parameter["schema"]["type"] == "array":
        parameter |= {"style": "form", "explode": not query.comma}
    return parameter


def _query_schema(field: FieldDescriptor) -> Json:
    if is_type(field, FIELD_MASK) or field.is_repeated:
        return {"type": "array", "items": {"type": "string"}}
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values if value.number]}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return {"type": "integer", "format": "int32"}
    return {"type": "string"}


def _page(page: Page) -> Json:
    schema = {"type": "object"} if page.content_type == "application/json" else {"type": "string"}
    answers: Json = {"200": {"description": page.summary, "content": {page.content_type: {"schema": schema}}}}
    if page.path == "/readyz":
        answers["503"] = {"description": "Not now.", "content": {page.content_type: {"schema": schema}}}
    return {"operationId": page.operation, "summary": page.summary, "tags": ["Gateway"], "responses": answers}


def _problem() -> Json:
    return {
        "description": "What went wrong; Retry-After, in seconds, on 429 and 503.",
        "content": {CONTENT_TYPE: {"schema": reference("schemas", DOCUMENTED[0])}},
    }
