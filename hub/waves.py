"""The fan-out of live waveforms to whoever asked for one. Only what somebody looks at is rendered."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import datetime

from msgspec import Struct, json

from hub.events import frame, moment
from hub.model import Waveform

Key = tuple[str, str, str]
"""Site, device, waveform."""


class WavesFull(Exception):  # noqa: N818 - a state, not a fault of the caller
    """As many waveforms are being looked at as the hub takes."""


class Window(Struct, frozen=True, gc=False):
    """One window of samples as clients get it."""

    waveform: str
    time: datetime
    """Of the first sample, corrected."""
    rate: float
    """Samples a second."""
    scale: float
    offset: float
    unit: str
    """UCUM unit of sample * scale + offset."""
    samples: list[float | None]
    """None where the device had no sample."""


def window(waveform: Waveform) -> Window:
    """Return a waveform's window as clients get it."""
    return Window(
        waveform=waveform.waveform,
        time=moment(waveform.time_ns),
        rate=waveform.rate,
        scale=waveform.scale,
        offset=waveform.offset,
        unit=waveform.unit,
        samples=waveform.samples,
    )


class Viewer:
    """One client that looks at one waveform. When it is too slow the oldest windows are left out."""

    def __init__(self, key: Key, max_windows: int) -> None:
        self.key = key
        self._frames: deque[bytes] = deque(maxlen=max_windows)
        self._ready = asyncio.Event()
        self._closed = False

    def push(self, window_frame: bytes) -> bool:
        """Queue a window; False when an older one was left out for it. The times show the gap."""
        kept = len(self._frames) < (self._frames.maxlen or 0)
        self._frames.append(window_frame)
        self._ready.set()
        return kept

    def close(self) -> None:
        """End `frames` once what is queued is sent."""
        self._closed = True
        self._ready.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """Return server-sent events, one a window, until closed."""
        while True:
            if self._frames:
                yield self._frames.popleft()
            elif self._closed:
                return
            else:
                self._ready.clear()
                await self._ready.wait()


class Waves:
    """Who looks at which waveform now."""

    def __init__(self, *, max_viewers: int = 100, max_windows: int = 20) -> None:
        self._max_viewers = max_viewers
        self._max_windows = max_windows
        self._viewers: dict[Key, list[Viewer]] = {}
        self._closed = False
        self.left_out = 0
        """Windows that slow clients did not get."""

    def publish(self, waveform: Waveform) -> None:
        """Hand a window to who looks at it. Costs next to nothing while nobody does."""
        if not self._viewers:
            return
        viewers = self._viewers.get((waveform.site, waveform.device, waveform.waveform))
        if not viewers:
            return
        rendered = frame(b"waveform", json.encode(window(waveform)))
        for viewer in viewers:
            if not viewer.push(rendered):
                self.left_out += 1

    def open(self, key: Key) -> Viewer:
        """Add a client; the caller must `leave`. Raises WavesFull."""
        if self.viewers >= self._max_viewers:
            raise WavesFull(f"{self._max_viewers} waveforms are being looked at, the most this hub takes")
        viewer = Viewer(key, self._max_windows)
        if self._closed:
            viewer.close()
        self._viewers.setdefault(key, []).append(viewer)
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """Forget a client."""
        viewers = self._viewers.get(viewer.key, [])
        if viewer in viewers:
            viewers.remove(viewer)
        if not viewers:
            self._viewers.pop(viewer.key, None)

    def close(self) -> None:
        """End every stream; further ones end at once."""
        self._closed = True
        for viewers in self._viewers.values():
            for viewer in viewers:
                viewer.close()

    @property
    def viewers(self) -> int:
        """How many clients look at a waveform."""
        return sum(len(viewers) for viewers in self._viewers.values())
