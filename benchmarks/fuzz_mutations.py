"""Spoils requests: valid messages field by field, and their bytes on the wire. Knows protobuf, but no service.

Everything is drawn from one random number generator, so a seed gives the same requests again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

HUGE_FIELD = 10 * 1024 * 1024  # bytes: below what a server accepts in one message
TOO_MUCH = 17 * 1024 * 1024  # above it
_RARELY = 0.0005  # share of requests with a field of either size
_SIGNED = (0, 1, -1, 2**31 - 1, -(2**31), 2**31, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -0.0, -1.0, 1e-320, 1e38, 1e39, 1e308, float("inf"), float("-inf"), float("nan"))
_TEXTS = (
    "",
    " ",
    "\x00",
    "x" * 256,
    "x" * 257,
    "x" * 100_000,
    "{}%s%n{0}",
    "\U0001f600" * 64,
    "a\r\nb",
    "../..",
    "NaN",
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31 - 1),
}
_DTYPES = ("<q", "<I", "<f", "<B")  # of the values that `bytes` columns hold


def spoiled(rng: Random, message: Message) -> bytes:
    """The bytes of a request that is wrong somewhere, or of one that happens to be right. `message` is changed."""
    if rng.random() < _RARELY:
        return large(rng, message, rng.choice((HUGE_FIELD, TOO_MUCH)))
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        spoil_a_field(rng, message)
    data = message.SerializeToString()
    for _ in range(rng.choice((0, 0, 0, 1, 1, 3))):
        data = rng.choice(_WIRE)(rng, data)
    return data


def large(rng: Random, message: Message, size: int = HUGE_FIELD) -> bytes:
    """The bytes of a request with one text or column of `size` bytes. `message` is changed."""
    choices = [
        (target, field)
        for target in _messages(message)
        for field in target.DESCRIPTOR.fields
        if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and not field.is_repeated
    ]
    if choices:
        target, field = rng.choice(choices)
        setattr(target, field.name, bytes(size) if field.type == FieldDescriptor.TYPE_BYTES else "x" * size)
    return message.SerializeToString()


def spoil_a_field(rng: Random, message: Message) -> None:
    """Changes one field of the message or of one inside it."""
    target = rng.choice(list(_messages(message)))
    fields: list[Any] = list(target.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    if rng.random() < 0.1:
        target.ClearField(field.name)
    elif field.message_type is not None and field.message_type.GetOptions().map_entry:
        _spoil_map(rng, getattr(target, field.name), field)
    elif field.is_repeated:
        _spoil_list(rng, getattr(target, field.name), field)
    elif field.message_type is not None:
        getattr(target, field.name).SetInParent()
    else:
        setattr(target, field.name, _scalar(rng, field, getattr(target, field.name)))


def _messages(message: Message) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            yield from _messages(inner)


def _spoil_map(rng: Random, entries: Any, field: FieldDescriptor) -> None:
    entry: Any = field.message_type
    key, value = entry.fields_by_name["key"], entry.fields_by_name["value"]
    name = rng.choice(list(entries)) if entries and rng.random() < 0.5 else _scalar(rng, key, key.default_value)
    entries[name] = _scalar(rng, value, value.default_value)


def _spoil_list(rng: Random, values: Any, field: FieldDescriptor) -> None:
    """One entry more, fewer, twice, many times, elsewhere, or a wrong one."""
    items = list(values)
    change = rng.randrange(6)
    if change == 0 and items:
        items.pop(rng.randrange(len(items)))
    elif change == 1 and items:
        items *= rng.choice((2, 3, 40))
    elif change == 2:
        rng.shuffle(items)
    elif change == 3 and items:
        items.append(rng.choice(items))
    elif field.message_type is not None:
        values.add()
        return
    elif items and change == 4:
        items[rng.randrange(len(items))] = _scalar(rng, field, field.default_value)
    else:
        items.insert(rng.randrange(len(items) + 1), _scalar(rng, field, _zero(field)))
    copies = [type(item).FromString(item.SerializeToString()) if isinstance(item, Message) else item for item in items]
    del values[:]
    values.extend(copies)


def _zero(field: FieldDescriptor) -> Any:
    kinds = {FieldDescriptor.CPPTYPE_STRING: b"" if field.type == FieldDescriptor.TYPE_BYTES else ""}
    return kinds.get(field.cpp_type, 0)


def _scalar(rng: Random, field: FieldDescriptor, now: Any) -> Any:
    """A wrong or rare value of the field's type; of text and bytes also one that is nearly what stands there now."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _column(rng, bytes(now or b""))
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _text(rng, now if isinstance(now, str) else "")
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return rng.choice((*_FLOATS, rng.uniform(-1e7, 1e7)))
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    low, high = _RANGES[field.cpp_type]
    near = (int(now or 0) + 1, int(now or 0) - 1, -int(now or 0))
    return min(max(rng.choice((*_SIGNED, *near, rng.randint(low, high), rng.randint(0, 300))), low), high)


def _text(rng: Random, now: str) -> str:
    if not now or rng.random() < 0.5:
        return rng.choice(_TEXTS)
    at = rng.randrange(len(now))
    changed = rng.choice((now[:at], now[at:], now[:at] + chr(rng.randrange(1, 0xD7FF)) + now[at + 1 :], now * 2))
    return changed[:200_000]


def _column(rng: Random, now: bytes) -> bytes:
    """One value of the column replaced, or the column cut, grown or filled with chance."""
    change = rng.randrange(5)
    if change == 0:
        return now[: rng.randrange(len(now) + 1)]
    if change == 1:
        return now + rng.randbytes(rng.choice((1, 4, 8, 400)))
    if change == 2:
        return rng.randbytes(len(now))
    if change == 3:
        return now * rng.choice((2, 50))
    form = rng.choice(_DTYPES)
    value = struct.pack(form, _packable(rng, form))
    rows = len(now) // len(value)
    at = rng.randrange(rows) * len(value) if rows else 0
    return now[:at] + value + now[at + len(value) :]


def _packable(rng: Random, form: str) -> float | int:
    match form:
        case "<f":
            return rng.choice((0.0, -1.0, 3e38, float("inf"), float("nan")))
        case "<q":
            return rng.choice(_SIGNED)
        case "<I":
            return rng.choice((0, 1, 2**31, 2**32 - 1))
        case _:
            return rng.choice((0, 1, 12, 255))


def _flip(rng: Random, data: bytes) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 16)) if spoilt else 0):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _remove(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice((1, 2, 8, 100)) :]


def _insert(rng: Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 8, 100))) + data[at:]


def _twice(rng: Random, data: bytes) -> bytes:
    return data + data[rng.randrange(len(data) + 1) :] if len(data) < 100_000 else data


def _unknown_field(rng: Random, data: bytes) -> bytes:
    """A field that no message has, or a known one with a wire type that is not its own."""
    number = rng.choice((1, 2, 3, 4, 5, 6, 15, 19_000, 2**29 - 1))
    wire_type = rng.randrange(8)  # 6 and 7 do not exist; 3 opens a group that nobody closes
    return data + _varint(number << 3 | wire_type) + rng.randbytes(rng.choice((0, 1, 4, 8, 12)))


def _long_length(rng: Random, data: bytes) -> bytes:
    """A length that promises more than follows."""
    number = rng.randrange(1, 12)
    return data + _varint(number << 3 | 2) + _varint(rng.choice((1, 1000, 2**31 - 1, 2**32, 2**63))) + b"x"


def _broken_text(rng: Random, data: bytes) -> bytes:
    """Bytes that are no UTF-8 in what may be a text field."""
    text = rng.choice((b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"ok\x80"))
    return data + _varint(rng.randrange(1, 12) << 3 | 2) + _varint(len(text)) + text


def _nested(rng: Random, data: bytes) -> bytes:
    """Messages within messages, deeper than parsers go."""
    inner = b""
    tag = _varint(rng.randrange(1, 8) << 3 | 2)
    for _ in range(rng.choice((10, 99, 120, 500))):
        inner = tag + _varint(len(inner)) + inner
    return data + inner


def _nothing(rng: Random, data: bytes) -> bytes:
    return rng.choice((b"", b"\x00", rng.randbytes(64)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


_WIRE: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _remove,
    _insert,
    _twice,
    _unknown_field,
    _unknown_field,
    _long_length,
    _broken_text,
    _nested,
    _nothing,
)
