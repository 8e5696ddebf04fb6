"""The window that knows which readings the line has seen: a redelivered one is not journalled twice."""

import struct
from hashlib import blake2b
from itertools import starmap

_SEQ_BITS = 64
_NOTE = struct.Struct("QqQ")
"""Channel index, time and sequence number as they are noted: a quarter of what they take as objects."""
_note = _NOTE.pack


class _Generation:
    """Identities seen one after another: sorted into a set only once somebody must look for one."""

    __slots__ = ("newest_ns", "seen", "unsorted")

    def __init__(self) -> None:
        self.newest_ns: dict[int, int] = {}
        """By channel index: the newest time, of the device's own clock."""
        self.unsorted = bytearray()
        """Notes of identities, one after another."""
        self.seen: set[int] = set()

    def __len__(self) -> int:
        return len(self.seen) + len(self.unsorted) // _NOTE.size

    def __contains__(self, identity: int) -> bool:
        if self.unsorted:
            unsorted, self.unsorted = self.unsorted, bytearray()
            self.seen.update(starmap(_identity, _NOTE.iter_unpack(unsorted)))
        return identity in self.seen


class Duplicates:
    """The identities of the newest readings: at least `span`, at most twice as many.

    Identity is what the device sent (its channel, its own time, its sequence number or payload hash), not the
    corrected time: an estimated offset may move between two deliveries of one message. Stores keep a
    reading that comes again after longer than the window from doubling: there its identity is its key.

    What is newer than everything of its channel can't have been seen: nearly every reading is, and costs one
    comparison. One that isn't has what was noted since the last such one sorted, before it is looked up.
    """

    def __init__(self, span: int = 131_072) -> None:
        self._span = span
        self._newer = _Generation()
        self._older = _Generation()
        self._left = span
        """How many more the newer generation takes."""

    def seen(self, channel_index: int, device_time_ns: int, seq: int) -> bool:
        """Tell whether this identity was seen before, and remember it."""
        newer = self._newer
        newest_ns = newer.newest_ns.get(channel_index)
        if newest_ns is None:  # where the older has none either, the window holds nothing of this channel
            newest_ns = self._older.newest_ns.get(channel_index)
        if newest_ns is None or device_time_ns > newest_ns:
            newer.newest_ns[channel_index] = device_time_ns
        else:
            identity = _identity(channel_index, device_time_ns, seq)
            if identity in newer or identity in self._older:
                return True
            # The older one is forgotten first: what is known of the channel must not go with it.
            newer.newest_ns.setdefault(channel_index, newest_ns)
        try:
            newer.unsorted += _note(channel_index, device_time_ns, seq)
        except struct.error:  # too large to be noted
            newer.seen.add(_identity(channel_index, device_time_ns, seq))
        self._left -= 1
        if not self._left:
            self._older, self._newer, self._left = newer, _Generation(), self._span
        return False

    def __len__(self) -> int:
        return len(self._newer) + len(self._older)


def _identity(channel_index: int, device_time_ns: int, seq: int) -> int:
    return (channel_index << 2 * _SEQ_BITS) + (device_time_ns << _SEQ_BITS) + seq


def payload_hash(payload: bytes) -> int:
    """Return 63 bits that stand for a message without a sequence number, the same in every process."""
    return int.from_bytes(blake2b(payload, digest_size=8).digest(), "little") >> 1
