"""What Prometheus scrapes: counts that other parts keep anyway, read when somebody asks.

The line pays nothing for it; only `told_after` is observed as it happens, once a batch.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Read = Callable[[], float | Mapping[str, float]]
"""A number now, or numbers by the value of the one label."""

_LATENCIES_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 60)
_MAX_REASONS = 50


class Metrics(Collector):
    """A registry of its own, so that several hubs in one process (tests) don't share numbers."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._sources: dict[
            str, tuple[type[CounterMetricFamily | GaugeMetricFamily], str, Read, str | None]
        ] = {}
        self._rejections: Counter[str] = Counter()
        self._failing: set[str] = set()
        self.told_after = Histogram(
            "hub_told_after_seconds",
            "From the receipt of a batch to alarms and live values having followed it.",
            buckets=_LATENCIES_S,
            registry=self._registry,
        )
        self._registry.register(self)
        self.counter("hub_rejects", "What could not be used, by reason.", lambda: self._rejections, "reason")

    def counter(self, name: str, what: str, read: Read, label: str | None = None) -> None:
        """Show a number that only rises. `name` without `_total`; `what` is one sentence."""
        self._sources[name] = (CounterMetricFamily, what, read, label)

    def gauge(self, name: str, what: str, read: Read, label: str | None = None) -> None:
        """Show a number that rises and falls."""
        self._sources[name] = (GaugeMetricFamily, what, read, label)

    def rejected(self, reason: str, count: int = 1) -> None:
        """Count a rejection. Reasons are told apart up to the first colon; past 50 they count as `other`."""
        kind = reason.partition(":")[0].strip()[:60]
        if kind not in self._rejections and len(self._rejections) >= _MAX_REASONS:
            kind = "other"
        self._rejections[kind] += count

    def collect(self) -> Iterator[Metric]:
        """Read every number; called by the registry. A part that can't tell is left out."""
        for name, (family, what, read, label) in self._sources.items():
            try:
                found = read()
            except Exception:  # one part's fault must not hide the others
                if name not in self._failing:
                    log.exception("metric %s can't be read", name)
                self._failing.add(name)
                continue
            self._failing.discard(name)
            metric = family(name, what, labels=[] if label is None else [label])
            for value, number in found.items() if isinstance(found, Mapping) else [(None, found)]:
                metric.add_metric([] if value is None else [value], number)
            yield metric

    def render(self) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self._registry)
