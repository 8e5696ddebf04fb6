"""Shows what one payload becomes, as plain data: behind `hub devices decode`."""

from typing import TypedDict

import msgspec

from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, Refused
from hub.vocabulary import PARAMETERS


class Shown(TypedDict):
    """One payload, step by step, ready for JSON."""

    topic: str
    definition: str | None
    """None where no definition takes the topic; `refused` says why."""
    site: str | None
    area: str | None
    device: str | None
    channel: str | None
    items: list[dict[str, object]]
    """Each with `item` (its class) and its members; values carry unit and codes."""
    refused: list[dict[str, object]]
    """Path and reason of what can't be used."""


def show(catalog: Catalog, topic: str, payload: bytes) -> Shown:
    """Decode a payload as the line would. Never raises."""
    route = catalog.resolve(topic)
    if route is None:
        refused: list[dict[str, object]] = [{"path": "$", "reason": catalog.explain(topic)}]
        return Shown(
            topic=topic,
            definition=None,
            site=None,
            area=None,
            device=None,
            channel=None,
            items=[],
            refused=refused,
        )
    decoded = route.decode(payload)
    return Shown(
        topic=topic,
        definition=route.definition,
        site=route.site,
        area=route.area,
        device=route.device,
        channel=route.channel,
        items=[_item(item) for item in decoded if not isinstance(item, Refused)],
        refused=[msgspec.to_builtins(item) for item in decoded if isinstance(item, Refused)],
    )


def _item(item: msgspec.Struct) -> dict[str, object]:
    members: dict[str, object] = {"item": type(item).__name__, **msgspec.to_builtins(item)}
    if isinstance(item, Observed):
        units = item.units or {}
        members["values"] = {
            name: {
                "value": value,
                "unit": units.get(name, PARAMETERS[name].unit),
                "loinc": [code.code for code in PARAMETERS[name].loinc],
                "mdc": [code.code for code in PARAMETERS[name].mdc],
            }
            for name, value in item.values.items()
        }
    return members
