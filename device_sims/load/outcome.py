"""All that a load test found out."""

from dataclasses import dataclass, field

from device_sims.load.histogram import Histogram
from device_sims.load.reconcile import Reckoning

KEYS = [
    *("devices", "connected", "target_rate", "actual_rate", "published", "acknowledged", "stored", "lost"),
    *("doubled", "altered", "alarms_expected", "alarms_missed", "alarm_p99_ms", "puback_p50_ms"),
    *("puback_p99_ms", "connect_s", "hub_rss_mb", "hub_cpu_s", "broker_rss_mb", "broker_cpu_s"),
    *("load_cpu_us_per_message", "alarm_p50_ms", "puback_p999_ms", "puback_p9999_ms", "puback_max_ms"),
    *("behind_s", "held", "reconnects", "refused", "unacknowledged_stored", "drain_s", "load_rss_mb"),
    *("hub_rss_growth_mb", "hub_rss_late_growth_mb", "broker_rss_growth_mb", "strange_packets"),
    "actual_share",
]
"""What a result has; null where it was not measured."""


@dataclass
class Second:
    """One second of the test, for the plots."""

    at_s: float
    sent: int
    acknowledged: int
    connected: int
    p50_ms: float | None
    p99_ms: float | None
    hub_cpu: float | None = None
    hub_rss_mb: float | None = None
    broker_cpu: float | None = None
    broker_rss_mb: float | None = None
    load_cpu: float | None = None


@dataclass
class Outcome:
    """All that a load test found out."""

    result: dict[str, float | None]
    """By KEYS."""
    seconds: list[Second] = field(default_factory=list)
    latency: Histogram = field(default_factory=Histogram)
    alarm_latency: Histogram = field(default_factory=Histogram)
    reckoning: Reckoning | None = None
    missed: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a reader must know to judge the figures."""
