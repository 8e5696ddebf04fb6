"""Fills a broker with an hour's messages quickly: raw packets, so many in flight."""

import asyncio
import json
import time
from urllib.parse import urlsplit

from hub.mqtt.packets import PacketReader, Puback, connect, publish
from tests.crash.publishers import Publishers, topic

_WINDOW = 2000
_DEVICES = 100


async def publish_backlog(url: str, messages: int) -> Publishers:
    """Publish readings determined over the last hour; return them as acknowledged publishers."""
    parts = urlsplit(url)
    publishers = Publishers(url, _DEVICES, period_s=1)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(connect("backlog", clean_session=True, keepalive_s=300))
    packets = PacketReader(max_packet_bytes=1 << 16, buffer_bytes=1 << 16)
    sent: dict[int, tuple[str, tuple[int, int]]] = {}
    now_ms = time.time_ns() // 1_000_000
    seq = 0
    while seq < messages or sent:
        while seq < messages and len(sent) < _WINDOW:
            seq += 1
            device = f"dev-{seq % _DEVICES}"
            time_ms = now_ms - 3_600_000 + seq * 3_590_000 // messages
            packet_id = seq % 65_000 + 1
            payload = {"time": time_ms, "seq": seq, "values": {"heart_rate": 60 + seq % 50, "spo2": 97}}
            writer.write(publish(topic(device), json.dumps(payload).encode(), qos=1, packet_id=packet_id))
            sent[packet_id] = device, (time_ms, seq)
        await writer.drain()
        data = await asyncio.wait_for(reader.read(1 << 16), 30)
        if not data:
            raise RuntimeError("the broker closed the connection")
        for packet in packets.feed(data):
            if isinstance(packet, Puback):
                device, identity = sent.pop(packet.packet_id)
                publishers.acknowledged[device].add(identity)
    writer.close()
    return publishers
