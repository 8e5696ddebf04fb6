"""Which numbers of the hub `/metrics` shows."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from hub.alarms.alarm import RANK
from hub.alarms.delivery import Delivery
from hub.alarms.signal import is_unanswered
from hub.clock import SECOND_NS

if TYPE_CHECKING:
    from hub.app import Hub


def measure(hub: "Hub") -> None:
    """Enter the hub's numbers into its metrics."""
    metrics, line = hub.metrics, hub.line
    counts = line.counts
    metrics.counter("hub_messages", "Messages taken from brokers.", lambda: counts.messages)
    metrics.counter("hub_readings", "Readings, one a message and time.", lambda: counts.readings)
    metrics.counter("hub_values", "Valid and questionable values.", lambda: counts.values)
    metrics.counter("hub_durable_readings", "Readings that the journal holds.", lambda: counts.durable)
    metrics.counter("hub_duplicates", "Readings that had been seen before.", lambda: counts.duplicates)
    metrics.counter(
        "hub_rejected_messages", "Messages of which something could not be used.", lambda: counts.rejected
    )
    metrics.counter(
        "hub_live_lane_messages", "Messages that came by the live lane.", lambda: counts.live_lane
    )
    metrics.counter(
        "hub_untold_rejects",
        "Rejects not told to their device: too many waited.",
        lambda: hub.diagnostics.untold,
    )
    metrics.gauge("hub_devices", "Devices that the hub has heard of.", lambda: hub.brokers.heard)
    metrics.gauge(
        "hub_new_devices_waiting",
        "New devices that wait to be entered into the registry.",
        lambda: hub.newcomers.waiting,
    )
    metrics.gauge("hub_pending_messages", "Messages taken and not yet durable.", lambda: line.pending)
    metrics.gauge(
        "hub_journal_ok", "1 while the journal takes batches.", lambda: float(hub.journal.state == "ok")
    )
    metrics.gauge("hub_stream_clients", "Open streams.", lambda: hub.stream.clients)
    metrics.counter(
        "hub_stream_cut_back", "Clients that were too slow and began afresh.", lambda: hub.stream.cut_back
    )
    measure_alarms(hub)
    _measure_brokers(hub)
    _measure_stores(hub)


def measure_alarms(hub: "Hub") -> None:
    """Enter what is known of alarms, and of the channels that carry them."""
    metrics, alarm_log, alarms = hub.metrics, hub.log, hub.alarms

    def signalled() -> dict[str, float]:
        found: dict[str, float] = dict.fromkeys(RANK, 0.0)
        for event in alarm_log.present():
            if event.signal is not None and is_unanswered(event.signal):
                found[event.signal.priority] += 1
        return found

    def channels(read: Callable[[Delivery], int]) -> dict[str, float]:
        return {one.name: float(read(one)) for one in alarms.deliveries}

    metrics.gauge(
        "hub_alarms_present", "Alarm conditions that are present.", lambda: len(alarm_log.present())
    )
    metrics.gauge(
        "hub_alarms_unanswered",
        "Alarms that are signalled and that nobody has taken charge of.",
        signalled,
        "priority",
    )
    metrics.counter("hub_alarm_events", "Alarm and technical events told.", lambda: alarm_log.last_sequence)
    metrics.gauge(
        "hub_alarm_events_unrecorded", "Alarm events told and not yet on disk.", lambda: alarm_log.unrecorded
    )
    metrics.counter(
        "hub_alarm_events_never_recorded",
        "Alarm events told that the disk will never have: too many waited for it.",
        lambda: alarm_log.left_out,
    )
    metrics.counter(
        "hub_pager_events_dropped",
        "Alarm events never published for pagers: too many waited; the lists of active alarms have them.",
        lambda: 0 if alarms.pagers is None else alarms.pagers.dropped,
    )
    metrics.gauge(
        "hub_alarm_channel_waiting",
        "Alarm events that a webhook or mail server has not taken yet.",
        lambda: channels(lambda one: one.waiting),
        "channel",
    )
    metrics.counter(
        "hub_alarm_channel_given_up",
        "Alarm events that a webhook or mail server never took.",
        lambda: channels(lambda one: one.given_up),
        "channel",
    )


def _measure_brokers(hub: "Hub") -> None:
    metrics = hub.metrics

    def inlets(read: str) -> dict[str, float]:
        return {inlet.name: float(getattr(inlet.session, read)) for inlet in hub.brokers.inlets}

    metrics.gauge(
        "hub_broker_connected", "1 while the session stands.", lambda: inlets("connected"), "broker"
    )
    metrics.counter("hub_broker_received", "Messages from a broker.", lambda: inlets("received"), "broker")
    metrics.counter(
        "hub_broker_acknowledged", "PUBACKs sent to a broker.", lambda: inlets("acknowledged"), "broker"
    )
    metrics.counter(
        "hub_broker_reconnects", "Connections begun anew.", lambda: inlets("reconnects"), "broker"
    )
    metrics.gauge(
        "hub_broker_behind_seconds",
        "For how long no canary has crossed the line and been acknowledged.",
        lambda: {inlet.name: inlet.behind_s() for inlet in hub.brokers.inlets},
        "broker",
    )
    metrics.gauge(
        "hub_live_lane_open",
        "1 while alarms are fed past a session that is behind.",
        lambda: {inlet.name: float(inlet.lane.is_open) for inlet in hub.brokers.inlets},
        "broker",
    )


def _measure_stores(hub: "Hub") -> None:
    hub.metrics.gauge(
        "hub_store_lag_items",
        "Journalled items that a store has not yet.",
        lambda: {drain.store.name: float(drain.lag.items) for drain in hub.drains},
        "store",
    )
    hub.metrics.gauge(
        "hub_store_lag_seconds",
        "Age of the oldest journalled item that a store has not yet.",
        lambda: {
            drain.store.name: 0.0
            if drain.lag.oldest_ns is None
            else max(0.0, (hub.now_ns() - drain.lag.oldest_ns) / SECOND_NS)
            for drain in hub.drains
        },
        "store",
    )
