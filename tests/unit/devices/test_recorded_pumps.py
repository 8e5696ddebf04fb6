"""The recorded frames of a B. Braun Space rack, by a definition over their decoded fields."""

import json

from hub.devices.catalog import Catalog
from hub.devices.decode import AlarmSent, Observed, Refused


def test_drug_rate_and_volume_of_the_recorded_frames_are_read(recorded):
    decode = Catalog.load().resolve("bbraun/rack-2/params").decode
    frames = json.loads((recorded / "pumps" / "bbraun_bcc_frames.json").read_bytes())
    filled = [frame for frame in frames if frame["params"]]
    items = [item for frame in filled for item in decode(json.dumps(frame).encode())]
    assert [(item.device, item.values) for item in items if isinstance(item, Observed)] == [
        (
            "36248",
            {
                "pump_flow_rate": 0.0,
                "pump_volume_infused": 0.0,
                "pump_volume_remaining": 0.0,
                "pump_drug": None,
            },
        ),
        (
            "40864",
            {
                "pump_flow_rate": 0.3,
                "pump_volume_infused": 1.4,
                "pump_volume_remaining": 47.64,
                "pump_drug": "Arterenol4mg/50",
            },
        ),
        (
            "1815",
            {
                "pump_flow_rate": 0.1,
                "pump_volume_infused": 19.0,
                "pump_volume_remaining": 20.39,
                "pump_drug": "Beloc25mg/50",
            },
        ),
    ]
    assert not any(isinstance(item, Refused) for item in items)
    assert {item.presence for item in items if isinstance(item, AlarmSent)} == {"absent"}
    for frame in frames:
        if not frame["params"]:
            assert all(isinstance(item, Refused) for item in decode(json.dumps(frame).encode()))
