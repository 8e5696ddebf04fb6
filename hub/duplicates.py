"""The window that knows which readings the line has seen: a redelivered one is not journalled twice."""

from hashlib import blake2b

_SEQ_BITS = 64


class Duplicates:
    """The identities of the newest readings: at least `span`, at most twice as many.

    Identity is what the device sent (its channel, its own time, its sequence number or payload hash), not the
    corrected time: an estimated offset may move between two deliveries of one message. Stores keep a
    reading that comes again after longer than the window from doubling: there its identity is its key.
    """

    def __init__(self, span: int = 131_072) -> None:
        self._span = span
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def seen(self, channel_index: int, device_time_ns: int, seq: int) -> bool:
        """Tell whether this identity was seen before, and remember it."""
        identity = (channel_index << 2 * _SEQ_BITS) + (device_time_ns << _SEQ_BITS) + seq
        if identity in self._newer or identity in self._older:
            return True
        if len(self._newer) >= self._span:
            self._older = self._newer
            self._newer = set()
        self._newer.add(identity)
        return False

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def payload_hash(payload: bytes) -> int:
    """Return 63 bits that stand for a message without a sequence number, the same in every process."""
    return int.from_bytes(blake2b(payload, digest_size=8).digest(), "little") >> 1
