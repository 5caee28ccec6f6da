# SPDX-License-Identifier: MIT
"""Sermant's messages by Google's protobuf, their descriptors made here: `NettyMessage`, and `Ours` with our fields."""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

FIELD = descriptor_pb2.FieldDescriptorProto


def _classes():
    file = descriptor_pb2.FileDescriptorProto(name="sermant.proto", syntax="proto3")

    def enum(name, *values):
        made = file.enum_type.add(name=name)
        for number, value in enumerate(values):
            made.value.add(name=value, number=number)

    def message(name, *fields):
        made = file.message_type.add(name=name)
        for number, field_name, kind, label, type_name in fields:
            made.field.add(name=field_name, number=number, type=kind, label=label, type_name=type_name)

    one, many = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED
    enum("MessageType", "SERVICE_DATA")
    enum("DataType", "HEARTBEAT_DATA", "EVENT_DATA", "TRACING_DATA", "VISIBILITY_DATA")
    message(
        "ServiceData",
        (1, "dataType", FIELD.TYPE_ENUM, one, "DataType"),
        (2, "data", FIELD.TYPE_BYTES, one, None),
    )
    sermant = (
        (1, "messageType", FIELD.TYPE_ENUM, one, "MessageType"),
        (2, "serviceData", FIELD.TYPE_MESSAGE, many, "ServiceData"),
    )
    message("NettyMessage", *sermant)
    # bytes for the token, too: whether it is UTF-8 is not for the frame's decoder to say
    message(
        "Ours",
        *sermant,
        (1000, "goodbye", FIELD.TYPE_BYTES, one, None),
        (1001, "token", FIELD.TYPE_BYTES, one, None),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return [
        message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
        for name in ("NettyMessage", "ServiceData", "Ours")
    ]


NettyMessage, ServiceData, Ours = _classes()
