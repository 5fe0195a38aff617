"""Messages into proto3 JSON: lowerCamelCase, empty lists and zeros printed, what is unset left out.

Compiled once per message type, as in `decoding`; equal to `json_format.MessageToDict` with
`always_print_fields_with_no_presence`, which a test asserts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.descriptors import TIMESTAMP, is_map, is_type, message_type
from gateway.transcoding.instants import format_instant

Convert = Callable[[Any], Any]

_QUOTED = {FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64}


class Encoder:
    """Turns messages of one type into what a JSON writer takes."""

    def __init__(self, descriptor: Descriptor, instead: Mapping[str, Convert] | None = None) -> None:
        """``instead``: how messages of some types are written within others, by full name."""
        instead = instead or {}
        # Lists, maps and values with presence are told apart here, not for each message.
        self._plan = [
            (field.name, field.json_name, field.has_presence, _field_converter(field, instead))
            for field in descriptor.fields
        ]

    def encode(self, message: Message) -> dict[str, Any]:
        """The JSON object of ``message``."""
        result: dict[str, Any] = {}
        for name, json_name, may_be_unset, convert in self._plan:
            if may_be_unset and not message.HasField(name):
                continue
            value = getattr(message, name)
            result[json_name] = value if convert is None else convert(value)
        return result


def _field_converter(field: FieldDescriptor, instead: Mapping[str, Convert]) -> Convert | None:
    if is_map(field):
        key_field, value_field = message_type(field).fields
        if key_field.type != FieldDescriptor.TYPE_STRING:
            raise TypeError(f"{field.full_name}: only maps with texts as keys are written")
        return _map_converter(_converter(value_field, instead))
    convert = _converter(field, instead)
    return _list_converter(convert) if field.is_repeated else convert


def _map_converter(convert: Convert | None) -> Convert:
    if convert is None:
        return dict
    return lambda entries: {key: convert(entries[key]) for key in entries}


def _list_converter(convert: Convert | None) -> Convert:
    if convert is None:
        return list
    return lambda values: [convert(value) for value in values]


def _converter(field: FieldDescriptor, instead: Mapping[str, Convert]) -> Convert | None:
    """How one value is written; None: as it is."""
    if field.message_type is not None:
        if field.message_type.full_name in instead:
            return instead[field.message_type.full_name]
        if is_type(field, TIMESTAMP):
            return lambda instant: format_instant(instant.seconds, instant.nanos)
        if field.message_type.full_name.startswith("google.protobuf."):
            raise TypeError(f"{field.full_name}: its type is not written as JSON")
        return Encoder(field.message_type, instead).encode
    if field.enum_type is not None:
        names = {value.number: value.name for value in field.enum_type.values}
        # A number that this gateway does not know yet goes out as it is.
        return lambda number: names.get(number, number)
    if field.cpp_type in _QUOTED:
        return str
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return _double
    if field.type == FieldDescriptor.TYPE_BYTES:
        raise TypeError(f"{field.full_name}: bytes are not written as JSON")
    return None


def _double(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
