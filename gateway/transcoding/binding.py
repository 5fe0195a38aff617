"""HTTP requests into request messages: path variables, query parameters and JSON bodies, each strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway.transcoding.decoding import Decoder, invalid_value, parse_json
from gateway.transcoding.descriptors import FIELD_MASK, is_type, message_type
from services.runtime.errors import invalid_argument, invalid_field
from services.runtime.identifiers import check_id

_WHOLE = re.compile(r"-?[0-9]{1,10}")
_MASK_PATH = re.compile(r"[A-Za-z0-9.]{1,200}")
_CAPITAL = re.compile(r"([A-Z])")


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter: the request field it fills and how it is written."""

    field: str
    comma: bool = False  # a list in one value, a,b; without it a list is the parameter repeated
    description: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """A body of any length, one item a line, sent on as a stream of requests.

    ``items`` is the list of a request that takes them, ``samples`` the list of the answer that names refused
    ones. ``identity`` of a refused item is sent on all the same: the answer names it. When the field
    ``whole[0]`` has the value ``whole[1]``, what is not named gets deleted: then a line without a readable
    identity ends the import.
    """

    items: str
    samples: str
    identity: str = ""
    whole: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where the fields of the request come from.

    ``path`` maps variables of the template to fields when their names differ. ``body`` is "" (none), "*"
    (its fields are the request's) or the name of the one field that it is; one that is ``required`` and missing is
    refused. ``mask`` is the field mask that, left
    out of the query, names what the body does: a message alone does not tell an emptied text from one left out.
    With ``lines`` the body is NDJSON. ``fixed`` are texts that the route itself says.
    """

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, Query] = field(default_factory=dict)
    body: str = ""
    required: bool = False
    mask: str = ""
    lines: Lines | None = None
    fixed: dict[str, str] = field(default_factory=dict)


class RequestBinder:
    """Makes request messages of one route; everything that can be known beforehand is."""

    def __init__(self, descriptor: Descriptor, binding: Binding, variables: Sequence[str]) -> None:
        self._message: type[Message] = GetMessageClass(descriptor)
        self._paths = [(name, _Target(descriptor, binding.path.get(name, name))) for name in variables]
        self._queries = QueryReader(descriptor, binding.query)
        self._body = _body_decoder(descriptor, binding.body) if binding.body else None
        self._inner = "" if binding.body == "*" else binding.body
        self._required = binding.required
        self._mask = binding.mask
        self._fixed = binding.fixed

    def bind(self, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes) -> Message:
        """The request; raises INVALID_ARGUMENT naming the first field or parameter that is wrong."""
        message = self._message(**self._fixed)
        if self._required and not body:
            raise invalid_argument("the route needs a body of application/json", reason="BODY_MISSING")
        said: list[str] = []
        if self._body is not None and body:
            said = self._body.decode(parse_json(body), getattr(message, self._inner) if self._inner else message)
        for name, target in self._paths:
            target.set_from_path(message, check_id(path[name], name), name)
        self._queries.read(query, message)
        if self._mask and not message.HasField(self._mask):
            getattr(message, self._mask).paths.extend(said)
        return message


class QueryReader:
    """Fills fields of a message from the query parameters that a route declares; any other one is refused."""

    def __init__(self, descriptor: Descriptor, queries: Mapping[str, Query]) -> None:
        self._setters = {name: _query_setter(descriptor, name, query) for name, query in queries.items()}

    def read(self, query: Mapping[str, Sequence[str]], message: Message) -> None:
        """Sets what ``query`` (all values of each name) says; an empty value is a parameter left out."""
        for name, values in query.items():
            setter = self._setters.get(name)
            if setter is None:
                raise invalid_field(name[:64], "there is no such parameter", reason="UNKNOWN_PARAMETER")
            given = [value for value in values if value]
            if given:
                setter(message, given)


class _Target:
    """A text field that a path variable fills, perhaps inside a message of the request."""

    def __init__(self, descriptor: Descriptor, path: str) -> None:
        *parents, self._name = path.split(".")
        self._parents = parents
        for parent in parents:
            descriptor = message_type(descriptor.fields_by_name[parent])
        if descriptor.fields_by_name[self._name].type != FieldDescriptor.TYPE_STRING:
            raise TypeError(f"{descriptor.full_name}.{self._name} is no text")

    def set_from_path(self, message: Message, value: str, variable: str) -> None:
        for parent in self._parents:
            message = getattr(message, parent)
        said = getattr(message, self._name)
        if said and said != value:
            raise invalid_value(variable, "the body names another one than the path")
        setattr(message, self._name, value)


def _body_decoder(descriptor: Descriptor, body: str) -> Decoder:
    return Decoder(descriptor if body == "*" else message_type(descriptor.fields_by_name[body]))


def _query_setter(descriptor: Descriptor, name: str, query: Query) -> Callable[[Message, list[str]], None]:
    target = descriptor.fields_by_name[query.field]
    if is_type(target, FIELD_MASK):
        return lambda message, values: _set_mask(getattr(message, target.name), _single(values, name), name)
    convert = _text_converter(target)
    if not target.is_repeated:
        return lambda message, values: setattr(message, target.name, convert(_single(values, name), name))

    def set_list(message: Message, values: list[str]) -> None:
        texts = _single(values, name).split(",") if query.comma else values
        if "" in texts:
            raise invalid_value(name, "has an empty element")
        getattr(message, target.name).extend([convert(text, name) for text in texts])

    return set_list


def _single(values: list[str], name: str) -> str:
    if len(values) > 1:
        raise invalid_value(name, "is given more than once")
    return values[0]


def _set_mask(mask: Any, text: str, name: str) -> None:
    for path in text.split(","):
        if not _MASK_PATH.fullmatch(path):
            raise invalid_value(name, "must be field names in lowerCamelCase, separated by commas")
        mask.paths.append(_CAPITAL.sub(lambda match: "_" + match[1].lower(), path))


def _text_converter(target: FieldDescriptor) -> Callable[[str, str], Any]:
    if target.type == FieldDescriptor.TYPE_STRING:
        return _text
    if target.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return _whole
    if target.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _flag
    if target.enum_type is not None:
        numbers = {value.name: value.number for value in target.enum_type.values if value.number != 0}
        rule = "must be one of " + ", ".join(numbers)

        def named(text: str, name: str) -> int:
            if text not in numbers:
                raise invalid_value(name, rule)
            return numbers[text]

        return named
    raise TypeError(f"{target.full_name}: its type is not read from a query")


def _text(text: str, name: str) -> str:
    if not text.isprintable():  # also bytes that are no UTF-8
        raise invalid_value(name, "has characters that cannot be printed")
    return text


def _whole(text: str, name: str) -> int:
    if _WHOLE.fullmatch(text) and -(2**31) <= int(text) < 2**31:
        return int(text)
    raise invalid_value(name, "must be a whole number")


def _flag(text: str, name: str) -> bool:
    if text not in {"true", "false"}:
        raise invalid_value(name, "must be true or false")
    return text == "true"
