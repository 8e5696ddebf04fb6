"""`hub devices decode`: what the hub makes of payloads, offline or live from a broker. Stores nothing."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import copyfile
from typing import Annotated

import typer

from hub.commands.outcome import CONFIG, FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.devices.catalog import Catalog
from hub.devices.problem import DefinitionErrors
from hub.devices.topics import example_topics
from hub.mqtt.session import BrokerAddress, BrokerRefused, BrokerUnreachable, Delivery, Session
from hub.mqtt.topics import TopicError, check_filter, is_id
from hub.preview import Preview, Previewer
from hub.settings import Settings


def catalog_or_fail(config: Path | None, folders: Sequence[Path] = ()) -> Catalog:
    """Return the definitions of the settings and of more folders, or end the command naming what is wrong."""
    settings = settings_or_fail(config)
    try:
        return Catalog.load([*settings.definitions, *folders], site=settings.site, zone=settings.time_zone)
    except DefinitionErrors as error:
        fail(str(error), CONFIG)


def decode(
    payloads: Annotated[
        list[str] | None,
        typer.Argument(help="Payloads: each the text itself, @FILE, or - for standard input."),
    ] = None,
    *,
    device: Annotated[
        str | None,
        typer.Option(
            help="A definition by its name or file (*.toml), or a device of the native format by its id."
        ),
    ] = None,
    topic: Annotated[
        str | None, typer.Option(help="The topic that they came on; decides definition, site and device.")
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Show what comes live on this topic (+ and # allowed)."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="Broker for --watch, mqtt://host:port; that of the settings where absent."),
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End --watch after so many messages; 0: never.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show what the hub makes of payloads: readings, rejects with their path, FHIR, line protocol.

    Stores nothing and tells nobody. Exit code 1 where something of a payload can't be used.

    For example:

        hub devices decode --device mon-1 '{"values":{"heart_rate":72}}'

        hub devices decode --device my-pump.toml @payload.json --json

        hub devices decode --watch 'iomt/#' --broker mqtt://broker.example:1883
    """
    settings = settings_or_fail(config)
    with tempfile.TemporaryDirectory() as folder:
        if device is not None and device.endswith(".toml"):
            try:
                copyfile(device, Path(folder) / Path(device).name)
            except OSError as error:
                fail(f"{device}: {error.strerror}", FAILED)
            device = Path(device).stem
        catalog = catalog_or_fail(config, [Path(folder)])
    if watch is not None:
        if payloads or topic:
            raise typer.BadParameter("--watch takes payloads and topics from the broker")
        _watch(settings, catalog, watch, broker, count, as_json=as_json)
        return
    if (topic is None) == (device is None):
        raise typer.BadParameter("give --device, --topic or --watch")
    if not payloads:
        raise typer.BadParameter("give a payload: the text itself, @FILE, or - for standard input")
    previewer = Previewer(catalog)
    rejected = False
    for payload in map(_payload, payloads):
        shown = _best(catalog, previewer, topic, device or "", payload, settings)
        rejected |= bool(shown["rejects"])
        _print(shown, as_json=as_json)
    raise typer.Exit(FAILED if rejected else 0)


def _best(
    catalog: Catalog, previewer: Previewer, topic: str | None, device: str, payload: bytes, settings: Settings
) -> Preview:
    """Show a payload on its topic, or on the topic of the definition that makes most of it."""
    if topic is not None:
        return previewer.show(topic, payload)
    definition = catalog.definitions.get(device)
    if definition is None:
        if not is_id(device):
            fail(f"{device!r} is no definition and no id of a device; `hub devices list` has the definitions")
        return previewer.show(f"wards/v1/{settings.site}/main/{device}/observations", payload)
    shown = [previewer.show(one, payload) for one in example_topics(definition)]
    return min(shown, key=lambda one: (not _useful(one), len(one["rejects"])))


def _useful(shown: Preview) -> bool:
    return any(
        (shown["readings"], shown["statuses"], shown["alarms"], shown["sightings"], shown["waveforms"])
    )


def _watch(
    settings: Settings, catalog: Catalog, topic: str, broker: str | None, count: int, *, as_json: bool
) -> None:
    try:
        check_filter(topic)
        address = _address(settings, broker)
    except (TopicError, ValueError) as error:
        fail(str(error))
    previewer = Previewer(catalog)

    async def run() -> None:
        done = asyncio.Event()
        left = count

        def deliver(delivery: Delivery) -> None:
            nonlocal left
            for message in delivery.messages:
                _print(previewer.show(message.topic, message.payload, delivery.received_ns), as_json=as_json)
                left -= 1
                if left == 0:
                    done.set()
                    return
            sys.stdout.flush()

        session = Session(
            address,
            client_id=f"wardhub-watch-{os.getpid()}",
            filters=[topic],
            deliver=deliver,
            clean_session=True,
            qos=0,
        )
        await session.connect_once()
        print(f"watching {topic} at {address}; Ctrl-C ends", file=sys.stderr, flush=True)
        watching = asyncio.create_task(session.run())
        stop = asyncio.create_task(done.wait())
        await asyncio.wait({watching, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, stop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(run())
        except (BrokerUnreachable, BrokerRefused) as error:
            fail(str(error), UNAVAILABLE)


def _address(settings: Settings, broker: str | None) -> BrokerAddress:
    if broker is not None:
        return BrokerAddress(url=broker)
    if settings.broker_addresses:
        return settings.broker_addresses[0]
    embedded = settings.embedded_broker
    if embedded.users or embedded.tls:
        raise ValueError(
            "give --broker with the name and password of someone whom the embedded broker lets in"
        )
    return BrokerAddress(url=f"mqtt://{embedded.host}:{embedded.port}")


def _payload(argument: str) -> bytes:
    if argument == "-":
        return sys.stdin.buffer.read()
    if argument.startswith("@"):
        try:
            return Path(argument[1:]).read_bytes()
        except OSError as error:
            fail(f"{argument[1:]}: {error.strerror}", FAILED)
    return argument.encode()


def _print(shown: Preview, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(shown, ensure_ascii=False))
        return
    print(f"{shown['topic']}: {shown['definition'] or 'no definition takes it'}")
    print("readings")
    for value in shown["readings"]:
        told = (
            "no value"
            if value["value"] is None
            else f"{value['value']:g}"
            if isinstance(value["value"], float)
            else value["value"]
        )
        print(
            f"  {value['device']}  {value['parameter']} = {told} {value['unit']}"
            f"  {value['time']}  {value['quality']}"
        )
    for kind in ("statuses", "alarms", "sightings", "waveforms"):
        for item in shown[kind]:
            print(f"{kind}\n  {json.dumps(item, ensure_ascii=False)}")
    print("rejects")
    for reject in shown["rejects"]:
        print(f"  {reject['path']}: {reject['reason']}")
    print("FHIR")
    for resource in shown["fhir"]:
        print("  " + json.dumps(resource, ensure_ascii=False, indent=2).replace("\n", "\n  "))
    print("line protocol")
    for line in shown["line_protocol"]:
        print(f"  {line}")
    print()
