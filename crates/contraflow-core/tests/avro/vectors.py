"""Writes `vectors.jsonl`: what fastavro makes of bytes that it wrote with one schema and read with
another. Run it as `python3 vectors.py > vectors.jsonl` where fastavro 1.13 is installed.

Each line has the two schemas, the bytes as hexadecimal digits, and the value as JSON: bytes as
hexadecimal digits, times and decimals as their text."""

import datetime
import decimal
import io
import json
import uuid

import fastavro


def record(*fields, name="R", **more):
    return {"type": "record", "name": name, "fields": list(fields), **more}


def field(name, ty, **more):
    return {"name": name, "type": ty, **more}


def logical(ty, word, **more):
    return {"type": ty, "logicalType": word, **more}


SUIT = {"type": "enum", "name": "Suit", "symbols": ["SPADES", "HEARTS"]}
OLD_INNER = record(field("x", "int"), field("y", "string"), name="a.Inner")
NEW_INNER = record(field("why", "string", aliases=["y"]), field("x", "double"), name="b.Inner")
UTC = datetime.timezone.utc
AT = datetime.datetime(1969, 7, 20, 20, 17, 40, 123000, UTC)

CASES = [
    # Aliases, of fields and of records, and both at once.
    (record(field("a", "int")), record(field("b", "long", aliases=["a"])), {"a": 7}),
    (record(field("a", "int")), record(field("b", "int", aliases=["z", "a"])), {"a": -7}),
    (record(field("a", "int"), name="Was"), record(field("a", "int"), name="Is", aliases=["Was"]), {"a": 1}),
    (record(field("a", "int"), name="n.Was"), record(field("a", "int"), name="m.Is", aliases=["n.Was"]), {"a": 1}),
    # Namespaces aside, a record is the same.
    (record(field("i", OLD_INNER)), record(field("i", NEW_INNER)), {"i": {"x": 3, "y": "a"}}),
    # Order, and fields that only one side has.
    (
        record(field("a", "string"), field("b", "int"), field("c", "bytes")),
        record(field("c", "bytes"), field("a", "string")),
        {"a": "é", "b": 5, "c": b"\x00\xff"},
    ),
    # Defaults of every kind.
    (
        record(),
        record(
            field("flag", "boolean", default=True),
            field("int", "int", default=-1),
            field("double", "double", default=1.5),
            field("text", "string", default="a\u00ff"),
            field("list", {"type": "array", "items": "int"}, default=[1, 2]),
            field("map", {"type": "map", "values": "string"}, default={"a": "b"}),
            field("none", ["null", "int"], default=None),
            field("first", ["int", "null"], default=4),
            field("suit", SUIT, default="HEARTS"),
            field("inner", OLD_INNER, default={"x": 1, "y": "z"}),
        ),
        {},
    ),
    # Unions.
    (["null", "int"], ["string", "long", "null"], 7),
    (["null", "int"], ["string", "long", "null"], None),
    ("int", ["null", "double"], 7),
    (["int", "string"], "string", "a"),
    (
        record(field("u", [OLD_INNER, "string"])),
        record(field("u", ["string", NEW_INNER])),
        {"u": {"x": 3, "y": "a"}},
    ),
    # Promotions, deep inside.
    (
        {"type": "array", "items": {"type": "map", "values": "int"}},
        {"type": "array", "items": {"type": "map", "values": "double"}},
        [{"a": 1}, {}],
    ),
    ("float", "double", 0.5),
    # Symbols by name, not by number.
    (SUIT, {**SUIT, "symbols": ["CLUBS", "HEARTS", "SPADES"]}, "SPADES"),
    # Meanings.
    (logical("int", "date"), logical("int", "date"), datetime.date(1582, 10, 15)),
    (logical("int", "time-millis"), logical("int", "time-millis"), datetime.time(23, 59, 59, 999000)),
    (logical("long", "time-micros"), logical("long", "time-micros"), datetime.time(0, 0, 0, 1)),
    (logical("long", "timestamp-millis"), logical("long", "timestamp-millis"), AT),
    (logical("long", "timestamp-micros"), logical("long", "timestamp-micros"), AT),
    (
        logical("long", "local-timestamp-micros"),
        logical("long", "local-timestamp-micros"),
        datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
    ),
    (logical("string", "uuid"), logical("string", "uuid"), uuid.UUID(int=0x0123456789ABCDEF)),
    (
        logical("bytes", "decimal", precision=30, scale=4),
        logical("bytes", "decimal", precision=30, scale=4),
        decimal.Decimal("-12345678901234567890.0100"),
    ),
    (
        logical("fixed", "decimal", name="F", size=9, precision=20, scale=0),
        logical("fixed", "decimal", name="F", size=9, precision=20, scale=0),
        decimal.Decimal(-129),
    ),
]


def shown(value):
    match value:
        case bytes():
            return value.hex()
        case datetime.datetime():
            text = value.isoformat()
            return text.replace("+00:00", "Z")
        case datetime.date() | datetime.time():
            return value.isoformat()
        case decimal.Decimal() | uuid.UUID():
            return str(value)
        case dict():
            return {key: shown(inner) for key, inner in value.items()}
        case list():
            return [shown(inner) for inner in value]
        case _:
            return value


for writer, reader, value in CASES:
    out = io.BytesIO()
    # Parsing changes the names of a schema that it is given.
    ours = [json.loads(json.dumps(schema)) for schema in (writer, reader)]
    fastavro.schemaless_writer(out, json.loads(json.dumps(writer)), value)
    read = fastavro.schemaless_reader(io.BytesIO(out.getvalue()), *ours)
    line = {"writer": writer, "reader": reader, "bytes": out.getvalue().hex(), "value": shown(read)}
    print(json.dumps(line, ensure_ascii=False))
