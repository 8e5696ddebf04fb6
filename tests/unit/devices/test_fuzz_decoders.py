"""The short form of `make fuzz`: a few hundred mutated payloads for every definition."""

import pytest

from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, SightingSent
from tests.fuzz import Broken, check, fuzz, seeds


@pytest.mark.parametrize("definition", sorted(Catalog.load().definitions))
def test_no_mutated_payload_makes_a_decoder_raise_or_invent_a_value(definition):
    assert definition in seeds()
    fuzz(definition, 400, seed=7)


def test_the_fuzzer_sees_an_invented_value_and_an_exception():
    with pytest.raises(Broken, match="not in the payload"):
        check(lambda _payload: [Observed({"spo2": 97.0})], "t", b'{"spo2": 96}')
    with pytest.raises(Broken, match="not in the payload"):
        check(lambda _payload: [SightingSent("b-1", -64)], "t", b'{"id": "b-1", "rssi": -63}')
    with pytest.raises(Broken, match="ZeroDivisionError"):
        check(lambda _payload: [1 / 0], "t", b"{}")
    assert check(lambda _payload: [Observed({"spo2": 97.0})], "t", b'{"spo2": "97"}')
