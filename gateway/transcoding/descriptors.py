"""What the other modules ask of descriptors."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor, FieldDescriptor


def message_type(field: FieldDescriptor) -> Descriptor:
    """The type of a message field; raises TypeError for any other field."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no message")
    return field.message_type


def is_map(field: FieldDescriptor) -> bool:
    """Whether the field is a map, which protobuf keeps as a list of entries."""
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def is_type(field: FieldDescriptor, full_name: str) -> bool:
    """Whether the field holds messages of that type."""
    return field.message_type is not None and field.message_type.full_name == full_name


TIMESTAMP = "google.protobuf.Timestamp"
FIELD_MASK = "google.protobuf.FieldMask"
