"""JSON Schemas of the messages, from their descriptors, and of the answers that have a shape of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from windowshop.features.v1 import features_pb2

from gateway.transcoding.descriptors import TIMESTAMP, is_map, is_type, message_type

Json = dict[str, Any]

DOCUMENTED = ("Problem", "FeatureValues", "FeatureColumns")

_FEATURES, _RECOMMENDER = "windowshop.features.v1", "windowshop.recommender.v1"
_FEATURE_NAMES: Json = {"maxItems": 100}
_SOME: Json = {"minItems": 1, "maxItems": 1000}
_PAGE_OF_100: Json = {"minimum": 0, "maximum": 100}
_PAGE_OF_1000: Json = {"minimum": 0, "maximum": 1000}
_COUNT: Json = {"minimum": 0}
# What the services refuse beyond, for those who fill a form or generate a client. A test holds them together.
_BOUNDS: Mapping[str, Json] = {
    f"{_FEATURES}.GetFeaturesRequest.features": _FEATURE_NAMES,
    f"{_FEATURES}.RefreshFeaturesRequest.features": _FEATURE_NAMES,
    f"{_FEATURES}.BatchGetFeaturesRequest.features": _FEATURE_NAMES,
    f"{_FEATURES}.BatchGetFeaturesRequest.ids": _SOME,
    f"{_FEATURES}.WriteEventsRequest.events": _SOME,
    f"{_FEATURES}.ListFeatureDefinitionsRequest.page_size": _PAGE_OF_1000,
    f"{_RECOMMENDER}.RecommendRequest.page_size": _PAGE_OF_100,
    f"{_RECOMMENDER}.RecommendRequest.product_ids": {"maxItems": 20},
    f"{_RECOMMENDER}.RecommendRequest.exclude_product_ids": {"maxItems": 500},
    f"{_RECOMMENDER}.RecommendRequest.device": {"maxLength": 32},
    f"{_RECOMMENDER}.ListSimilarProductsRequest.page_size": _PAGE_OF_100,
    f"{_RECOMMENDER}.ListProductsRequest.page_size": _PAGE_OF_1000,
    f"{_RECOMMENDER}.ListModelsRequest.page_size": _PAGE_OF_100,
    f"{_RECOMMENDER}.ListServingConfigsRequest.page_size": _PAGE_OF_1000,
    f"{_RECOMMENDER}.ServingConfig.id": {"pattern": "^[a-z][a-z0-9-]{0,62}$"},
    f"{_RECOMMENDER}.ServingConfig.sources": {"minItems": 1, "maxItems": 20},
    f"{_RECOMMENDER}.ServingConfig.empty_reason": {"maxLength": 200},
    f"{_RECOMMENDER}.CandidateSource.limit": {"minimum": 1, "maximum": 500},
    f"{_RECOMMENDER}.CandidateSource.deadline_ms": {"minimum": 0, "maximum": 1000},
    f"{_RECOMMENDER}.SetInventoryRequest.available_quantity": _COUNT,
    f"{_RECOMMENDER}.Product.title": {"maxLength": 500},
    f"{_RECOMMENDER}.Product.description": {"maxLength": 10_000},
    f"{_RECOMMENDER}.Product.categories": {"maxItems": 20},
    f"{_RECOMMENDER}.Product.tags": {"maxItems": 50},
    f"{_RECOMMENDER}.Product.attributes": {"maxProperties": 50},
    f"{_RECOMMENDER}.Product.available_quantity": _COUNT,
    f"{_RECOMMENDER}.Product.low_stock_threshold": _COUNT,
    f"{_RECOMMENDER}.Product.rating_count": _COUNT,
}
# Without these the service refuses the request; each makes its route's body a required one.
_NEEDED = frozenset(
    {
        f"{_FEATURES}.BatchGetFeaturesRequest.ids",
        f"{_FEATURES}.WriteEventsRequest.events",
        f"{_FEATURES}.MergeVisitorRequest.user_id",
        f"{_RECOMMENDER}.SetInventoryRequest.available_quantity",
    }
)

_INSTANT: Json = {"type": "string", "format": "date-time"}
_NULLABLE_INSTANT: Json = {"type": ["string", "null"], "format": "date-time"}
_SPECIAL_NUMBERS = ["NaN", "Infinity", "-Infinity"]
_VALUE: Json = {
    "type": ["string", "number", "boolean", "array", "object", "null"],
    "description": "Of the feature's type; a table is an object of rows by key, in order, each an object of numbers.",
    "additionalProperties": {"type": "object", "additionalProperties": {"type": "number"}},
}
_DEGRADED: Json = {
    "type": "array",
    "items": {"type": "string"},
    "minItems": 1,
    "description": "What was not available while answering; left out on a good day.",
}


def bounds(field: FieldDescriptor) -> Json:
    """What a request may hold in ``field``, as far as it is a matter of counting."""
    return dict(_BOUNDS.get(field.full_name, {}))


def reference(kind: str, name: str) -> Json:
    """A pointer to a component."""
    return {"$ref": f"#/components/{kind}/{name}"}


class Schemas:
    """Collects the components while operations name them."""

    def __init__(self) -> None:
        self._components: dict[str, Json] = {
            "Problem": _problem(),
            "FeatureValues": _feature_values(),
            "FeatureColumns": _feature_columns(),
        }

    def components(self) -> dict[str, Json]:
        """All of them, by name."""
        return dict(sorted(self._components.items()))

    def answer(self, descriptor: Descriptor) -> Json:
        """A message that goes out: what has no presence is always there."""
        return self._message(descriptor, descriptor.name, incoming=False)

    def request(self, descriptor: Descriptor, without: frozenset[str] = frozenset()) -> Json:
        """A message that comes in: most may be left out, nothing unknown may be there."""
        return self._message(descriptor, f"{descriptor.name}Input", incoming=True, without=without)

    def _message(
        self, descriptor: Descriptor, name: str, incoming: bool, without: frozenset[str] = frozenset()
    ) -> Json:
        if name not in self._components:
            self._components[name] = {}  # taken, while its fields are walked
            fields = [field for field in descriptor.fields if field.name not in without]
            schema: Json = {
                "type": "object",
                "properties": {field.json_name: self._field(field, incoming) for field in fields},
                "additionalProperties": False,
            }
            required = [
                field.json_name
                for field in fields
                if (field.full_name in _NEEDED if incoming else not field.has_presence)
            ]
            if required:
                schema["required"] = required
            self._components[name] = schema
        return reference("schemas", name)

    def _field(self, field: FieldDescriptor, incoming: bool) -> Json:
        schema = self._whole(field, incoming)
        if not incoming:
            return schema
        schema |= bounds(field)
        # null is "left out" of any field; these have no other way to say it, as "" and [] are for texts and lists.
        clears = field.has_presence and field.full_name not in _NEEDED
        return {"anyOf": [*schema.get("anyOf", [schema]), {"type": "null"}]} if clears else schema

    def _whole(self, field: FieldDescriptor, incoming: bool) -> Json:
        if is_map(field):
            return {"type": "object", "additionalProperties": self._value(message_type(field).fields[1], incoming)}
        value = self._value(field, incoming)
        return {"type": "array", "items": value} if field.is_repeated else value

    def _value(self, field: FieldDescriptor, incoming: bool) -> Json:
        if field.message_type is not None:
            if is_type(field, TIMESTAMP):
                return dict(_INSTANT)
            return self.request(field.message_type) if incoming else self.answer(field.message_type)
        if field.enum_type is not None:
            return {"type": "string", "enum": _names(field.enum_type)}
        return _scalar(field)


def _scalar(field: FieldDescriptor) -> Json:
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return {"type": "integer", "format": "int32"}
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return {"anyOf": [{"type": "number"}, {"type": "string", "enum": _SPECIAL_NUMBERS}]}
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"type": "boolean"}
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT64:
        return {"type": "string", "format": "int64"}
    return {"type": "string"}


def _names(descriptor: EnumDescriptor) -> list[str]:
    return [value.name for value in descriptor.values]


def _object(properties: Json, optional: tuple[str, ...] = ()) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _by_name(schema: Json) -> Json:
    return {"type": "object", "additionalProperties": schema}


def _problem() -> Json:
    text = {"type": "string"}
    return _object(
        {
            "type": text,
            "title": text,
            "status": {"type": "integer"},
            "detail": text,
            "code": {"type": "string", "description": "The name of the gRPC status."},
            "reason": {"type": "string", "pattern": "^[A-Z0-9_]+$", "description": "Stable; for programs."},
            "requestId": text,
            "errors": {"type": "array", "items": _object({"field": text, "message": text})},
        }
    )


def _feature_values() -> Json:
    metadata = _object(
        {
            "status": {"type": "string", "enum": _names(features_pb2.FeatureStatus.DESCRIPTOR)},
            "computedAt": _NULLABLE_INSTANT,
            "ageSeconds": {"type": ["number", "null"]},
            "refreshSeconds": {"type": "integer"},
        }
    )
    return _object(
        {
            "entity": {"type": "string"},
            "id": {"type": "string"},
            "features": _by_name(_VALUE),
            "metadata": _by_name(metadata),
            "degraded": _DEGRADED,
        },
        optional=("degraded",),
    )


def _feature_columns() -> Json:
    status = {"type": "string", "enum": _names(features_pb2.FeatureStatus.DESCRIPTOR)}
    column = _object(
        {
            "type": {"type": "string", "enum": _names(features_pb2.FeatureType.DESCRIPTOR)},
            "values": {"type": "array", "items": _VALUE},
            "statuses": {"type": "array", "items": status},
            "computedAt": {"type": "array", "items": _NULLABLE_INSTANT},
            "refreshSeconds": {"type": "integer"},
        }
    )
    return _object(
        {
            "entity": {"type": "string"},
            "ids": {"type": "array", "items": {"type": "string"}},
            "columns": _by_name(column),
            "degraded": _DEGRADED,
        },
        optional=("degraded",),
    )
