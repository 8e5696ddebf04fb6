from prometheus_client.parser import text_string_to_metric_families

from hub.metrics import Metrics


def samples(metrics):
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_numbers_are_read_when_somebody_asks():
    metrics = Metrics()
    messages = 0
    metrics.counter("hub_messages", "Messages received.", lambda: messages)
    metrics.gauge("hub_alarms", "Alarms present, by priority.", lambda: {"high": 2, "low": 0}, "priority")
    messages = 7
    read = samples(metrics)
    assert read["hub_messages_total",] == 7
    assert read["hub_alarms", "high"] == 2
    assert read["hub_alarms", "low"] == 0


def test_rejects_are_counted_by_reason_without_what_follows_the_colon():
    metrics = Metrics()
    metrics.rejected("not JSON: line 1 column 3")
    metrics.rejected("not JSON: line 9 column 1", 2)
    assert samples(metrics)["hub_rejects_total", "not JSON"] == 3


def test_reasons_beyond_fifty_count_as_other_so_that_labels_stay_bounded():
    metrics = Metrics()
    for n in range(200):
        metrics.rejected(f"reason {n}")
    reasons = {key: value for key, value in samples(metrics).items() if key[0] == "hub_rejects_total"}
    assert len(reasons) == 51
    assert reasons["hub_rejects_total", "other"] == 150


def test_a_part_that_fails_hides_no_other_and_is_logged_once(caplog):
    metrics = Metrics()
    metrics.gauge("hub_broken", "Fails.", lambda: 1 / 0)
    metrics.gauge("hub_whole", "Works.", lambda: 1)
    assert ("hub_whole",) in samples(metrics)
    assert ("hub_broken",) not in samples(metrics)
    assert len(caplog.records) == 1


def test_two_hubs_in_one_process_do_not_share_numbers():
    first, second = Metrics(), Metrics()
    first.told_after.observe(0.2)
    assert samples(first)["hub_told_after_seconds_count",] == 1
    assert samples(second)["hub_told_after_seconds_count",] == 0
