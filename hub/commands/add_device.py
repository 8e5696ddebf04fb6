"""`hub devices add`: register a device with its definition, gateway, credentials and place."""

import asyncio
import secrets
import sys
import time
from typing import Annotated

import bcrypt
import typer

from hub.commands.decode import catalog_or_fail
from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, make_data_dir_or_fail, settings_or_fail
from hub.mqtt.topics import is_id
from hub.settings import Settings
from hub.ward.model import NotInRegistry, PlacementConflict, RegistryRefused, RegistryUnavailable
from hub.ward.registry import Registry


def add(
    device: Annotated[str, typer.Argument(help="Its id: what its topic or its gateway's payload calls it.")],
    *,
    definition: Annotated[
        str | None, typer.Option(help="How its messages are read; what it knocked with where absent.")
    ] = None,
    gateway: Annotated[
        str | None, typer.Option(help="The device under which alone payloads may name this one.")
    ] = None,
    bed: Annotated[str | None, typer.Option(help="Where it stands from now on.")] = None,
    area: Annotated[
        str | None, typer.Option(help="The area in its topic; that of its knock, or main.")
    ] = None,
    interval_s: Annotated[
        float | None, typer.Option(min=0.001, max=86_400, help="Seconds between two of its messages.")
    ] = None,
    site: Annotated[str | None, typer.Option(help="Site; that of the settings where absent.")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Make a password for the embedded broker, shown once.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Register a device, or change how it is registered; place it at a bed. A running hub follows in seconds.

    For example:

        hub devices add pump-7 --definition pump-telemetry --bed icu-3

        hub devices add 45E174126E00 --gateway gw-1 --definition minew-gateway
    """
    settings = settings_or_fail(config)
    if definition is not None and definition not in catalog_or_fail(config).definitions:
        fail(f"{definition!r} is no definition; `hub devices list` has them", FAILED)
    if password and not is_id(device):
        fail(f"{device!r}: a device with a password of its own has an id of A-Z a-z 0-9 _ -", FAILED)
    make_data_dir_or_fail(settings)
    try:
        asyncio.run(_add(settings, site or settings.site, device, definition, gateway, bed, area, interval_s))
    except (NotInRegistry, PlacementConflict, RegistryRefused) as error:
        fail(str(error), FAILED)
    except RegistryUnavailable as error:
        fail(str(error), UNAVAILABLE)
    print(f"{device} is registered", file=sys.stderr)
    if password:
        _credentials(device)


async def _add(
    settings: Settings,
    site: str,
    device: str,
    definition: str | None,
    gateway: str | None,
    bed: str | None,
    area: str | None,
    interval_s: float | None,
) -> None:
    registry = Registry(settings.registry_url)
    await registry.start()
    try:
        known = registry.device(site, device)
        if definition is None and known is None:
            raise RegistryRefused(f"{device} never knocked: say --definition; `hub devices list` has them")
        await registry.add_device(
            site,
            device,
            definition or (known.definition if known else ""),
            area or (known.area if known else "main"),
            interval_s if interval_s is not None or known is None else known.interval_s,
            gateway if gateway is not None or known is None else known.gateway,
        )
        if bed is not None:
            await registry.place_device(site, device, time.time_ns(), bed=bed)
    finally:
        await registry.stop()


def _credentials(device: str) -> None:
    secret = secrets.token_urlsafe(24)
    hashed = bcrypt.hashpw(secret.encode(), bcrypt.gensalt(10)).decode()
    print(f"user      {device}\npassword  {secret}")
    print("For the hub's settings (the broker takes it at its next start):", file=sys.stderr)
    print(f'[[embedded_broker.users]]\nname = "{device}"\npassword_hash = "{hashed}"\ndevice = "{device}"')
