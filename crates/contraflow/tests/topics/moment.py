"""Writes one record with the timestamp 0 to partition 0 of a topic: moment.py SERVER TOPIC.

Speaks Kafka's protocol by itself, for the clients at hand take 0 for now.
"""
import socket
import struct
import sys


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def varint(number):
    zigzag = (number << 1) ^ (number >> 63)
    out = b""
    while zigzag > 0x7F:
        out += bytes([zigzag & 0x7F | 0x80])
        zigzag >>= 7
    return out + bytes([zigzag])


def batch(value, timestamp):
    body = b"\0" + varint(0) + varint(0) + varint(-1) + varint(len(value)) + value + varint(0)
    records = varint(len(body)) + body
    after_crc = struct.pack(">hiqqqhii", 0, 0, timestamp, timestamp, -1, -1, -1, 1) + records
    head = struct.pack(">ib", -1, 2) + struct.pack(">I", crc32c(after_crc))
    return struct.pack(">qi", 0, len(head + after_crc)) + head + after_crc


def text(name):
    return struct.pack(">h", len(name)) + name.encode()


server, topic = sys.argv[1:]
host, port = server.split(":")
records = batch(b"moment", 0)
# Produce, version 3: no transaction, all replicas, five seconds, one topic with one partition.
question = struct.pack(">hhi", 0, 3, 1) + text("moment") + struct.pack(">hhii", -1, -1, 5000, 1)
question += text(topic) + struct.pack(">iii", 1, 0, len(records)) + records
with socket.create_connection((host, int(port))) as connection:
    connection.sendall(struct.pack(">i", len(question)) + question)
    stream = connection.makefile("rb")
    answer = stream.read(struct.unpack(">i", stream.read(4))[0])
# Correlation, topics, the topic's name, partitions, the partition, and what became of it.
error = struct.unpack_from(">h", answer, 4 + 4 + 2 + len(topic) + 4 + 4)[0]
sys.exit(f"error {error}" if error else 0)
