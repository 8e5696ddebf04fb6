"""MQTT 3.1.1 packets of a client, without I/O: encoders, and a reader that slices packets out of a buffer.

Source: MQTT 3.1.1 (OASIS Standard, 29 October 2014); the numbers of sections in the comments are its.
QoS 2 is left out: the hub neither subscribes nor publishes with it.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from hub.model import Message
from hub.mqtt.topics import check_filter, check_topic

MAX_REMAINING_LENGTH = 268_435_455
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

_NAMES = (
    "reserved packet 0",
    *("CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE"),
    *("SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "reserved packet 15"),
)
# Smallest and largest size of what a broker may send besides PUBLISH: CONNACK, PUBACK, SUBACK (one code a
# filter), UNSUBACK, PINGRESP.
_ANSWER_SIZES = {2: (4, 4), 4: (4, 4), 9: (5, 16_000), 11: (4, 4), 13: (2, 2)}
# A topic is decoded and checked once and then looked up. Both limits bound what a stranger can make us keep:
# 65,536 topics of 256 bytes are 16 MiB.
_KNOWN_TOPICS = 65_536
_KNOWN_TOPIC_BYTES = 256

MAX_PACKET_BYTES = 2 << 20
"""Largest packet that is read whole, header included."""
KEPT_BYTES = 64 << 10
"""How much of its payload is kept of a PUBLISH that is larger than that; the rest is skipped."""


class ProtocolError(Exception):
    """The bytes aren't what MQTT 3.1.1 lets a server send; the text names what was wrong.

    The connection can't go on: where the next packet starts isn't known any more.
    """


class Will(NamedTuple):
    """What the broker publishes for a client that goes without a DISCONNECT."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class Connack(NamedTuple):
    """The answer to CONNECT. Code 0 is accepted; 1 to 5 see section 3.2.2.3."""

    session_present: bool
    code: int


class Suback(NamedTuple):
    """The answer to SUBSCRIBE, one code a filter: the QoS granted, or 0x80 for refused."""

    packet_id: int
    codes: tuple[int, ...]


class Puback(NamedTuple):
    """The answer to a PUBLISH of QoS 1."""

    packet_id: int


class Unsuback(NamedTuple):
    """The answer to UNSUBSCRIBE."""

    packet_id: int


class Pingresp(NamedTuple):
    """The answer to PINGREQ."""


Answer = Connack | Suback | Puback | Unsuback | Pingresp


def connect(
    client_id: str,
    *,
    clean_session: bool,
    keepalive_s: int = 30,
    user: str | None = None,
    password: bytes | None = None,
    will: Will | None = None,
) -> bytes:
    """Encode CONNECT. Raises ValueError for what section 3.1 forbids."""
    if not client_id and not clean_session:
        raise ValueError("a persistent session needs a client id")
    if password is not None and user is None:
        raise ValueError("a password needs a user name")
    flags = 0x02 if clean_session else 0
    body = [_text(client_id)]
    if will is not None:
        _check_qos(will.qos)
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0)
        body += _text(check_topic(will.topic)), _sized(will.payload)
    if user is not None:
        flags |= 0x80
        body.append(_text(user))
    if password is not None:
        flags |= 0x40
        body.append(_sized(password))
    head = b"\x00\x04MQTT\x04" + struct.pack(">BH", flags, keepalive_s)
    return _packet(0x10, head + b"".join(body))


def subscribe(packet_id: int, filters: Sequence[tuple[str, int]]) -> bytes:
    """Encode SUBSCRIBE of filters with the highest QoS wanted of each."""
    body = [_packet_id(packet_id)]
    for topic_filter, qos in filters:
        _check_qos(qos)
        body += _text(check_filter(topic_filter)), bytes((qos,))
    if not filters:
        raise ValueError("SUBSCRIBE needs at least one filter")
    return _packet(0x82, b"".join(body))


def unsubscribe(packet_id: int, filters: Sequence[str]) -> bytes:
    """Encode UNSUBSCRIBE."""
    if not filters:
        raise ValueError("UNSUBSCRIBE needs at least one filter")
    return _packet(0xA2, _packet_id(packet_id) + b"".join(_text(check_filter(text)) for text in filters))


def publish(
    topic: str,
    payload: bytes,
    *,
    qos: int = 0,
    packet_id: int = 0,
    retain: bool = False,
    duplicate: bool = False,
) -> bytes:
    """Encode PUBLISH. A packet id from 1 goes with QoS 1 and with nothing else."""
    _check_qos(qos)
    if (qos == 0) != (packet_id == 0):
        raise ValueError(f"packet id {packet_id} doesn't go with QoS {qos}")
    if duplicate and qos == 0:
        raise ValueError("a message of QoS 0 is never a duplicate")
    head = _text(check_topic(topic))
    if qos:
        head += _packet_id(packet_id)
    return _packet(0x30 | (8 if duplicate else 0) | qos << 1 | (1 if retain else 0), head + payload)


def pubacks(packet_ids: Iterable[int]) -> bytes:
    """Encode one PUBACK for each packet id, in order, to be sent in one write."""
    # A PUBACK is the four bytes 40 02 hi lo: one big-endian word.
    words = [0x4002_0000 | packet_id for packet_id in packet_ids]
    return struct.pack(f">{len(words)}I", *words)


def remaining_length(length: int) -> bytes:
    """Encode the length of a packet's rest in 1 to 4 bytes (section 2.2.3)."""
    if length < 128:
        return bytes((length,))
    if length > MAX_REMAINING_LENGTH:
        raise ValueError(f"a packet of {length} bytes: MQTT allows {MAX_REMAINING_LENGTH}")
    encoded = bytearray()
    while length > 127:
        encoded.append(length & 127 | 128)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


def _packet(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + remaining_length(len(rest)) + rest


def _text(text: str) -> bytes:
    if "\0" in text:
        raise ValueError("MQTT allows no NUL character in a text")
    return _sized(text.encode())


def _sized(data: bytes) -> bytes:
    if len(data) > 65_535:
        raise ValueError(f"{len(data)} bytes where MQTT allows 65535")
    return len(data).to_bytes(2, "big") + data


def _packet_id(packet_id: int) -> bytes:
    if not 1 <= packet_id <= 65_535:
        raise ValueError(f"packet id {packet_id}: use 1 to 65535")
    return packet_id.to_bytes(2, "big")


def _check_qos(qos: int) -> None:
    if qos not in (0, 1):
        raise ValueError(f"QoS {qos}: use 0 or 1")


class PacketReader:
    """One receive buffer, and the packets in it.

    Bytes go in through `get_buffer` and `advance`, as asyncio's BufferedProtocol wants it, or through `feed`.
    `read` is then called until it returns None. What comes out doesn't depend on how the bytes were split.

    Memory is bounded: the buffer holds `buffer_bytes`, and grows only for a single packet beyond that, up to
    `max_packet_bytes`, and only until that packet has been read. Of a larger PUBLISH the first bytes of the
    payload become a message whose `full_size` says what was sent; the rest is skipped as it comes. A broker
    would send a packet that ended the connection again for ever, so this one is acknowledged like others.
    """

    __slots__ = (
        "_buffer",
        "_cut",
        "_end",
        "_skip",
        "_start",
        "_topics",
        "_view",
        "buffer_bytes",
        "max_packet_bytes",
    )

    def __init__(self, *, max_packet_bytes: int = MAX_PACKET_BYTES, buffer_bytes: int = 256 << 10) -> None:
        self.max_packet_bytes = max_packet_bytes
        """Of a whole packet that is kept whole, header included."""
        self.buffer_bytes = buffer_bytes
        self._buffer = bytearray(buffer_bytes)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._end = 0
        self._topics: dict[bytes, str] = {}
        self._cut: Message | None = None
        """The beginning of a PUBLISH that is too large, until the last byte of it has come."""
        self._skip = 0
        """Bytes of it that are still to come."""

    @property
    def pending_bytes(self) -> int:
        """Bytes received and not yet read."""
        return self._end - self._start

    def get_buffer(self) -> memoryview:
        """Return where the next bytes go; never empty as long as `read` is called until it returns None."""
        if self._start == self._end:
            self._start = self._end = 0
            if len(self._buffer) > self.buffer_bytes:
                self._move(self.buffer_bytes)
        elif self._start and len(self._buffer) - self._end < len(self._buffer) >> 1:
            self._move(len(self._buffer))
        if self._end == len(self._buffer):
            needed = None if self._cut else self._needed_bytes()
            if needed is None or needed <= self._end - self._start:
                raise BufferError("read() the packets in the buffer before more bytes are taken")
            self._move(max(needed, self.buffer_bytes))
        return self._view[self._end :]

    def advance(self, size: int) -> None:
        """Count `size` bytes that were put into the buffer."""
        self._end += size

    def feed(self, data: bytes) -> list[Message | Answer]:
        """Take bytes and return all packets that are complete with them. Raises ProtocolError."""
        packets: list[Message | Answer] = []
        at = 0
        while at < len(data):
            room = self.get_buffer()
            size = min(len(room), len(data) - at)
            room[:size] = data[at : at + size]
            at += size
            self.advance(size)
            while (item := self.read()) is not None:
                if isinstance(item, list):
                    packets += item
                else:
                    packets.append(item)
        return packets

    def read(self, limit: int = 2000) -> list[Message] | Answer | None:
        """Return the next run of up to `limit` messages, the next other packet, or None: more bytes needed.

        Raises ProtocolError, again at each call; what came before the bad packet is returned first.
        """
        if self._cut is not None:
            return self._skip_rest(self._cut)
        size = self._packet_size()
        if size is None:
            return None
        if size > self.max_packet_bytes:
            return self._begin_cut(size)
        start = self._start
        first = self._buffer[start]
        complete = size <= self._end - start
        if first >> 4 == 3:
            return self._messages(limit) if complete else None
        # Checked before the body is there: whoever isn't a broker is told at once, not waited for.
        _check_answer(first, size)
        if not complete:
            return None
        answer = _answer(first, bytes(self._view[start : start + size]))
        self._start += size
        return answer

    def _messages(self, limit: int) -> list[Message]:
        # The hot path. One copy of all that is in the buffer makes each topic and payload one slice of bytes.
        data = bytes(self._view[self._start : self._end])
        size = len(data)
        known, most = self._topics, self.max_packet_bytes
        messages: list[Message] = []
        at = 0
        try:
            while len(messages) < limit and size - at > 1:
                first = data[at]
                length = data[at + 1]
                body = at + 2
                if length > 127:
                    if size - at > 2 and (more := data[at + 2]) < 128:  # nearly all that are so long
                        length, body = length & 127 | more << 7, at + 3
                        if body - at + length > most:
                            break
                    else:
                        length, body = self._long_length(data, at)
                end = body + length
                if first >> 4 != 3 or end > size or not body:
                    break
                if first == 0x32 and length > 4:
                    topic_end = body + 2 + (data[body] << 8 | data[body + 1])
                    if (
                        topic_end + 2 <= end
                        and (topic := known.get(data[body + 2 : topic_end]))
                        and (packet_id := data[topic_end] << 8 | data[topic_end + 1])
                    ):
                        messages.append(Message(topic, data[topic_end + 2 : end], packet_id))
                        at = end
                        continue
                messages.append(self._message(first, data[body:end]))
                at = end
        except ProtocolError:
            if not messages:
                raise
        self._start += at
        return messages

    def _message(self, first: int, body: bytes) -> Message:
        """Read one PUBLISH with all checks: a new topic, QoS 0, flags, or something wrong with it."""
        qos = first >> 1 & 3
        if qos > 1:
            raise ProtocolError(f"PUBLISH of QoS {qos}, which " + ("was never asked for", "is none")[qos - 2])
        if first & 0x0E == 8:
            raise ProtocolError("PUBLISH of QoS 0 is marked as a duplicate")
        if len(body) < 3:
            raise ProtocolError("PUBLISH is truncated before its topic")
        topic_end = 2 + (body[0] << 8 | body[1])
        payload = topic_end + 2 * qos
        if payload > len(body):
            raise ProtocolError("PUBLISH is truncated within its topic or packet id")
        packet_id = body[topic_end] << 8 | body[topic_end + 1] if qos else 0
        if qos and not packet_id:
            raise ProtocolError("PUBLISH of QoS 1 has packet id 0")
        raw = body[2:topic_end]
        topic = self._topics.get(raw) or self._new_topic(raw)
        return Message(topic, body[payload:], packet_id, first & 1 == 1, first & 8 == 8)

    def _begin_cut(self, size: int) -> list[Message] | None:
        """Take the beginning of a PUBLISH of `size` bytes, which is too many."""
        head = self._needed_bytes()
        if head is None or head > self._end - self._start:
            return None
        data = bytes(self._view[self._start : self._start + head])
        found = _decode_length(data, 0, head)
        body = found[1] if found else 0
        beginning = self._message(data[0], data[body:])
        full_size = size - head + len(beginning.payload)
        self._cut = replace(beginning, full_size=full_size)
        self._start += head
        self._skip = size - head
        return self._skip_rest(self._cut)

    def _skip_rest(self, cut: Message) -> list[Message] | None:
        size = min(self._skip, self._end - self._start)
        self._start += size
        self._skip -= size
        if self._skip:
            return None
        self._cut = None
        return [cut]

    def _long_length(self, data: bytes, at: int) -> tuple[int, int]:
        """Return the remaining length and where the body starts; (0, 0): it's too large or not all there."""
        found = _decode_length(data, at, len(data))
        if found is None or found[0] + found[1] - at > self.max_packet_bytes:
            return 0, 0
        return found

    def _packet_size(self) -> int | None:
        """Return the size of the first packet, None where its header isn't all there."""
        if self._end - self._start < 2:
            return None
        found = _decode_length(self._buffer, self._start, self._end)
        if found is None:
            return None
        size = found[0] + found[1] - self._start
        first = self._buffer[self._start]
        if size > self.max_packet_bytes and first >> 4 != 3:
            raise ProtocolError(
                f"{_NAMES[first >> 4]} of {size} bytes: max_packet_bytes is {self.max_packet_bytes}"
            )
        return size

    def _needed_bytes(self) -> int | None:
        """Return how many bytes of the first packet must be in the buffer at once, None: its header first."""
        size = self._packet_size()
        if size is None or size <= self.max_packet_bytes:
            return size
        start, buffer = self._start, self._buffer
        found = _decode_length(buffer, start, self._end)
        body = found[1] if found else self._end
        if self._end < body + 2:
            return body + 2 - start
        topic_bytes = buffer[body] << 8 | buffer[body + 1]
        payload = body - start + 2 + topic_bytes + (2 if buffer[start] & 6 else 0)
        if payload > self.max_packet_bytes:
            raise ProtocolError(f"PUBLISH with a topic of {topic_bytes} bytes is too large to be read")
        return min(payload + KEPT_BYTES, self.max_packet_bytes)

    def _new_topic(self, raw: bytes) -> str:
        try:
            topic = raw.decode()
        except UnicodeDecodeError:
            raise ProtocolError("the topic of a PUBLISH isn't UTF-8") from None
        if not topic:
            raise ProtocolError("the topic of a PUBLISH is empty")
        if "\0" in topic:
            raise ProtocolError("the topic of a PUBLISH holds a NUL character")
        if "+" in topic or "#" in topic:
            raise ProtocolError("the topic of a PUBLISH holds a wildcard")
        if len(raw) <= _KNOWN_TOPIC_BYTES:
            if len(self._topics) >= _KNOWN_TOPICS:
                self._topics.clear()
            self._topics[raw] = topic
        return topic

    def _move(self, capacity: int) -> None:
        """Put what hasn't been read at the front of a buffer of this capacity."""
        size = self._end - self._start
        if capacity == len(self._buffer):
            self._view[:size] = self._view[self._start : self._end]
        else:
            buffer = bytearray(capacity)
            buffer[:size] = self._view[self._start : self._end]
            self._buffer, self._view = buffer, memoryview(buffer)
        self._start, self._end = 0, size


def _decode_length(data: bytes | bytearray, at: int, end: int) -> tuple[int, int] | None:
    """Return the remaining length of the packet at `at` and its body's start; None: more bytes needed."""
    length = 0
    for place in range(4):
        position = at + 1 + place
        if position >= end:
            return None
        byte = data[position]
        length |= (byte & 127) << 7 * place
        if byte < 128:
            return length, position + 1
    raise ProtocolError(f"the remaining length of {_NAMES[data[at] >> 4]} has more than four bytes")


def _check_answer(first: int, size: int) -> None:
    """Check type, flags and size of a packet other than PUBLISH."""
    name = _NAMES[first >> 4]
    if first >> 4 not in _ANSWER_SIZES:
        raise ProtocolError(f"{name} isn't what a broker may send to this client")
    if first & 15:
        raise ProtocolError(f"{name} with reserved flags {first & 15:#x} set")
    smallest, largest = _ANSWER_SIZES[first >> 4]
    if not smallest <= size <= largest:
        raise ProtocolError(f"{name} of {size} bytes, which has {smallest} to {largest}")


def _answer(first: int, packet: bytes) -> Answer:
    if first == 0xD0:
        return Pingresp()
    found = _decode_length(packet, 0, len(packet))
    body = packet[found[1] :] if found else b""
    if len(body) < 2:
        raise ProtocolError(f"{_NAMES[first >> 4]} with a body of {len(body)} bytes is truncated")
    if first == 0x20:
        return _connack(body)
    packet_id = body[0] << 8 | body[1]
    if not packet_id:
        raise ProtocolError(f"{_NAMES[first >> 4]} has packet id 0")
    if first == 0x90:
        return _suback(packet_id, body[2:])
    return Puback(packet_id) if first == 0x40 else Unsuback(packet_id)


def _connack(body: bytes) -> Connack:
    if body[0] > 1:
        raise ProtocolError(f"CONNACK with reserved flags {body[0]:#x} set")
    if body[1] and body[0]:
        raise ProtocolError("CONNACK refuses and says that a session is present")
    return Connack(body[0] == 1, body[1])


def _suback(packet_id: int, codes: bytes) -> Suback:
    for code in codes:
        if code not in (0, 1, 2, 0x80):
            raise ProtocolError(f"SUBACK with the unknown code {code:#x}")
    return Suback(packet_id, tuple(codes))
