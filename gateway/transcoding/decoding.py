"""proto3 JSON into messages, strictly: an unknown field or a value of another type is an error naming its path.

`google.protobuf.json_format` does the same with errors that are prose, and several times slower: it looks
every field up by reflection. Here a message type is compiled once into a table of setters. The two are held
together by a test that feeds both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.transcoding.descriptors import TIMESTAMP, is_map, message_type
from gateway.transcoding.instants import parse_instant
from services.runtime.errors import ServiceError, invalid_argument, invalid_field

Json = Any  # what a JSON text can hold; the walk below finds out
Convert = Callable[[Json, str], Any]
Setter = Callable[[Message, Json, str], None]

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_NO_TEXT = "must be a text"
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def parse_json(text: bytes) -> Json:
    """The JSON value of ``text``; raises INVALID_ARGUMENT with reason MALFORMED_JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise invalid_argument(f"not JSON: {error}", reason="MALFORMED_JSON") from error
    except RecursionError as error:
        raise invalid_argument("not JSON that can be read: nested too deeply", reason="MALFORMED_JSON") from error


def invalid_value(path: str, message: str) -> ServiceError:
    """The error of a value that does not fit its field."""
    return invalid_field(path, message, reason="INVALID_VALUE")


class Decoder:
    """Fills messages of one type from JSON objects."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._setters: dict[str, tuple[str, Setter]] = {}
        for field in descriptor.fields:
            entry = (field.name, _setter(field))
            # proto3 JSON reads the original names as well; what goes out is lowerCamelCase.
            self._setters[field.name] = self._setters[field.json_name] = entry

    def decode(self, value: Json, message: Message, path: str = "") -> list[str]:
        """Sets the fields of ``value`` on ``message``; ``path`` is where ``value`` stands in the request.

        Returns the original names of the fields that ``value`` names, those that are null among them.
        """
        if type(value) is not dict:
            raise invalid_value(path or "(body)", "must be an object")
        setters = self._setters
        seen: dict[str, None] = {}
        for key, item in value.items():
            entry = setters.get(key)
            if entry is None:
                where = _join(path, key[:64])
                raise invalid_field(where, "there is no such field", reason="UNKNOWN_FIELD")
            name, setter = entry
            if name in seen:
                raise invalid_value(_join(path, key), "is given twice")
            seen[name] = None
            if item is not None:  # null is "left out"
                setter(message, item, _join(path, key))
        return list(seen)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _setter(field: FieldDescriptor) -> Setter:
    if is_map(field):
        return _map_setter(field)
    if field.message_type is not None:
        return _repeated_message_setter(field) if field.is_repeated else _message_setter(field)
    return _repeated_scalar_setter(field) if field.is_repeated else _scalar_setter(field)


def _scalar_setter(field: FieldDescriptor) -> Setter:
    name, convert = field.name, _converter(field)

    def set_scalar(message: Message, value: Json, path: str) -> None:
        setattr(message, name, convert(value, path))

    return set_scalar


def _repeated_scalar_setter(field: FieldDescriptor) -> Setter:
    name, convert = field.name, _converter(field)
    if convert is _string:  # ids by the hundred

        def set_texts(message: Message, value: Json, path: str) -> None:
            kinds = list(map(type, _list(value, path)))
            if kinds.count(str) != len(kinds):
                wrong = next(index for index, kind in enumerate(kinds) if kind is not str)
                raise invalid_value(f"{path}[{wrong}]", _NO_TEXT)
            getattr(message, name).extend(value)

        return set_texts

    def set_scalars(message: Message, value: Json, path: str) -> None:
        items = _list(value, path)
        getattr(message, name).extend([convert(item, f"{path}[{index}]") for index, item in enumerate(items)])

    return set_scalars


def _message_setter(field: FieldDescriptor) -> Setter:
    name, fill = field.name, _filler(message_type(field))

    def set_message(message: Message, value: Json, path: str) -> None:
        target = getattr(message, name)
        target.SetInParent()
        fill(value, target, path)

    return set_message


def _repeated_message_setter(field: FieldDescriptor) -> Setter:
    name, fill = field.name, _filler(message_type(field))

    def set_messages(message: Message, value: Json, path: str) -> None:
        target = getattr(message, name)
        for index, item in enumerate(_list(value, path)):
            fill(item, target.add(), f"{path}[{index}]")

    return set_messages


def _map_setter(field: FieldDescriptor) -> Setter:
    key_field, value_field = message_type(field).fields
    if key_field.type != FieldDescriptor.TYPE_STRING or value_field.message_type is not None:
        raise TypeError(f"{field.full_name}: only maps of strings to scalars are read")
    name, convert = field.name, _converter(value_field)

    def set_map(message: Message, value: Json, path: str) -> None:
        if type(value) is not dict:
            raise invalid_value(path, "must be an object")
        target = getattr(message, name)
        for key, item in value.items():
            target[key] = convert(item, f"{path}.{key[:64]}")

    return set_map


def _filler(descriptor: Descriptor) -> Callable[[Json, Message, str], object]:
    if descriptor.full_name == TIMESTAMP:
        return _fill_timestamp
    if descriptor.full_name.startswith("google.protobuf."):
        raise TypeError(f"{descriptor.full_name} is not read from JSON")
    return Decoder(descriptor).decode


def _fill_timestamp(value: Json, message: Any, path: str) -> None:
    if type(value) is not str:
        raise invalid_value(path, "must be a text such as 2026-01-31T12:00:00Z")
    try:
        message.seconds, message.nanos = parse_instant(value)
    except ValueError as error:
        raise invalid_value(path, "must be an instant of RFC 3339 such as 2026-01-31T12:00:00Z") from error


def _list(value: Json, path: str) -> list[Json]:
    if type(value) is not list:
        raise invalid_value(path, "must be a list")
    return value


def _converter(field: FieldDescriptor) -> Convert:
    kind = field.cpp_type
    if field.type == FieldDescriptor.TYPE_STRING:
        return _string
    if kind in _RANGES:
        return _integer(*_RANGES[kind])
    if kind == FieldDescriptor.CPPTYPE_DOUBLE:
        return _double
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return _bool
    if field.enum_type is not None:
        return _enum(field.enum_type)
    raise TypeError(f"{field.full_name}: its type is not read from JSON")


def _string(value: Json, path: str) -> str:
    if type(value) is not str:
        raise invalid_value(path, _NO_TEXT)
    return value


def _bool(value: Json, path: str) -> bool:
    if type(value) is not bool:
        raise invalid_value(path, "must be true or false")
    return value


def _double(value: Json, path: str) -> float:
    if type(value) is float:
        return value
    try:
        if type(value) is int:
            return float(value)
        if type(value) is str and value == value.strip() and "_" not in value:
            # As proto3 JSON has it: NaN and the infinities by these names only.
            return _NOT_FINITE[value] if value in _NOT_FINITE else _finite(float(value))
    except (ValueError, OverflowError) as error:
        raise invalid_value(path, "must be a number") from error
    raise invalid_value(path, "must be a number")


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _integer(lowest: int, highest: int) -> Convert:
    def convert(value: Json, path: str) -> int:
        number = value
        if type(number) is str and _INTEGER.fullmatch(number):
            number = int(number)
        elif type(number) is float and number.is_integer():
            number = int(number)  # 3.0 is 3 in JSON
        if type(number) is not int:
            raise invalid_value(path, "must be a whole number")
        if not lowest <= number <= highest:
            raise invalid_value(path, f"must be {lowest} to {highest}")
        return number

    return convert


def _enum(descriptor: EnumDescriptor) -> Convert:
    numbers: Mapping[str, int] = {value.name: value.number for value in descriptor.values}
    known = frozenset(numbers.values())
    # The first value means "left out"; it can be sent, but need not be suggested.
    rule = "must be one of " + ", ".join(value.name for value in descriptor.values if value.number != 0)

    def convert(value: Json, path: str) -> int:
        number = numbers.get(value) if type(value) is str else value if type(value) is int else None
        if number not in known:
            raise invalid_value(path, rule)
        return number

    return convert
