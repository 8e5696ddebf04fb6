"""Sparkplug B payloads made by Google's protobuf from the specification's .proto: independent of the hub."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_T = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "uint64": _T.TYPE_UINT64,
    "uint32": _T.TYPE_UINT32,
    "float": _T.TYPE_FLOAT,
    "double": _T.TYPE_DOUBLE,
    "bool": _T.TYPE_BOOL,
    "string": _T.TYPE_STRING,
    "bytes": _T.TYPE_BYTES,
}
# Eclipse Sparkplug 3.0.0, section 6.4.1: the members that readings need, with their numbers.
_MESSAGES = {
    "PropertyValue": [
        ("type", "uint32", 1),
        ("is_null", "bool", 2),
        ("int_value", "uint32", 3),
        ("long_value", "uint64", 4),
        ("float_value", "float", 5),
        ("double_value", "double", 6),
        ("boolean_value", "bool", 7),
        ("string_value", "string", 8),
    ],
    "PropertySet": [("keys", "string*", 1), ("values", "PropertyValue*", 2)],
    "DataSet": [("num_of_columns", "uint64", 1)],
    "Metric": [
        ("name", "string", 1),
        ("alias", "uint64", 2),
        ("timestamp", "uint64", 3),
        ("datatype", "uint32", 4),
        ("is_historical", "bool", 5),
        ("is_transient", "bool", 6),
        ("is_null", "bool", 7),
        ("properties", "PropertySet", 9),
        ("int_value", "uint32", 10),
        ("long_value", "uint64", 11),
        ("float_value", "float", 12),
        ("double_value", "double", 13),
        ("boolean_value", "bool", 14),
        ("string_value", "string", 15),
        ("bytes_value", "bytes", 16),
        ("dataset_value", "DataSet", 17),
    ],
    "Payload": [("timestamp", "uint64", 1), ("metrics", "Metric*", 2), ("seq", "uint64", 3)],
}
INT8, INT32, INT64, FLOAT, DOUBLE, BOOLEAN, STRING, DATASET = 1, 3, 4, 9, 10, 11, 12, 16


def _payload_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b_test.proto", package="test", syntax="proto2")
    for name, members in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for member, kind, number in members:
            field = message.field.add(name=member, number=number)
            field.label = _T.LABEL_REPEATED if kind.endswith("*") else _T.LABEL_OPTIONAL
            of = kind.rstrip("*")
            if of in _SCALARS:
                field.type = _SCALARS[of]
            else:
                field.type, field.type_name = _T.TYPE_MESSAGE, f".test.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.Payload"))


Payload = _payload_class()


def payload(*metrics: dict[str, Any], time: int | None = None, seq: int | None = None) -> bytes:
    """Serialize a payload; a metric's `properties` are a dict of name to int, float or text."""
    message = Payload()
    if time is not None:
        message.timestamp = time
    if seq is not None:
        message.seq = seq
    for members in metrics:
        metric = message.metrics.add()
        for key, value in members.items():
            if key == "properties":
                for name, one in value.items():
                    metric.properties.keys.append(name)
                    inner = metric.properties.values.add()
                    if isinstance(one, str):
                        inner.type, inner.string_value = STRING, one
                    else:
                        inner.type, inner.int_value = INT32, one
            elif key == "dataset_value":
                metric.dataset_value.num_of_columns = value
            else:
                setattr(metric, key, value)
    return bytes(message.SerializeToString())
