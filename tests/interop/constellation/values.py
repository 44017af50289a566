"""Tags as lines of JSON that keep kind and width; the form is that of tests/vectors/constellation/README.md."""

import datetime
import struct

import msgpack

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def typed(value):
    """A value as the package decodes it (a time is a datetime there), or as msgpack does."""
    if value is None:
        return {"t": "nil"}
    if isinstance(value, bool):
        return {"t": "bool", "v": value}
    if isinstance(value, int):
        return {"t": "int", "v": str(int(value))}
    if isinstance(value, float):
        return {"t": "float", "v": struct.pack(">d", value).hex()}
    if isinstance(value, str):
        return {"t": "str", "v": value}
    if isinstance(value, (bytes, bytearray)):
        return {"t": "bin", "v": bytes(value).hex()}
    if isinstance(value, datetime.datetime):
        whole = value - EPOCH
        return {"t": "time", "s": str(whole.days * 86400 + whole.seconds), "ns": whole.microseconds * 1000}
    if isinstance(value, msgpack.Timestamp):
        return {"t": "time", "s": str(value.seconds), "ns": value.nanoseconds}
    if isinstance(value, msgpack.ExtType):
        return {"t": "ext", "code": value.code, "v": value.data.hex()}
    if isinstance(value, (list, tuple)):
        return {"t": "array", "v": [typed(item) for item in value]}
    if isinstance(value, dict):
        return {"t": "map", "v": typed_map(value)}
    raise TypeError(f"no form for {value!r}")


def typed_map(tags):
    return [[key if isinstance(key, str) else typed(key), typed(value)] for key, value in tags.items()]


def untyped(form):
    """The Python value; a time is a msgpack.Timestamp, since a datetime has no nanoseconds."""
    kind = form["t"]
    if kind == "nil":
        return None
    if kind == "int":
        return int(form["v"])
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(form["v"]))[0]
    if kind == "bin":
        return bytes.fromhex(form["v"])
    if kind == "time":
        return msgpack.Timestamp(int(form["s"]), form["ns"])
    if kind == "ext":
        return msgpack.ExtType(form["code"], bytes.fromhex(form["v"]))
    if kind == "array":
        return [untyped(item) for item in form["v"]]
    if kind == "map":
        return untyped_map(form["v"])
    assert kind in ("bool", "str"), f"no such kind: {kind}"
    return form["v"]


def untyped_map(pairs):
    return {key: untyped(form) for key, form in pairs}


def cut_to_microseconds(form):
    """What is left of a value in a Python datetime."""
    if form["t"] == "time":
        return {**form, "ns": form["ns"] // 1000 * 1000}
    if form["t"] == "array":
        return {**form, "v": [cut_to_microseconds(item) for item in form["v"]]}
    if form["t"] == "map":
        return {**form, "v": as_datetimes(form["v"])}
    return form


def as_datetimes(pairs):
    """What is left of tags in the package."""
    return [[key, cut_to_microseconds(form)] for key, form in pairs]


def plain(form):
    """A form of the vectors without what is there for people to read."""
    kept = {key: value for key, value in form.items() if key != "repr"}
    if form["t"] == "array":
        kept["v"] = [plain(item) for item in form["v"]]
    if form["t"] == "map":
        kept["v"] = [[key, plain(item)] for key, item in form["v"]]
    return kept
