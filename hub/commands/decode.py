"""`hub devices decode`: what the hub makes of payloads, offline or live from a broker. Stores nothing."""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from hub.clock import SECOND_NS
from hub.commands.outcome import CONFIG, FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.commands.shown import Section, as_json, as_text
from hub.devices.catalog import Catalog
from hub.devices.problem import DefinitionErrors
from hub.devices.timestamp import NotATimeError, iso_ns
from hub.devices.topics import example_topics
from hub.mqtt.session import BrokerAddress, BrokerRefused, BrokerUnreachable, Delivery, Session
from hub.mqtt.topics import TopicError, check_filter, is_id
from hub.preview import Preview, Previewer
from hub.settings import Settings
from hub.ward.model import DeviceEntry, RegistryUnavailable
from hub.ward.registry import Registry

Lookup = Callable[[str, str], DeviceEntry | None]
_FOLLOW_S = 1.0


def catalog_or_fail(config: Path | None, folders: Sequence[Path] = (), files: Sequence[Path] = ()) -> Catalog:
    """Return the definitions of the settings, more folders and files, or end the command naming faults."""
    settings = settings_or_fail(config)
    try:
        return Catalog.load(
            [*settings.definitions, *folders], files=files, site=settings.site, zone=settings.time_zone
        )
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
        str | None, typer.Option(help="The topic that they came on; decides site, area and device.")
    ] = None,
    received: Annotated[
        str,
        typer.Option(
            metavar="TIME",
            help="When they arrived, RFC 3339; `sent`: when their newest time says, for old captures.",
        ),
    ] = "now",
    watch: Annotated[
        str | None,
        typer.Option(metavar="TOPIC", help="Show what comes live on this topic (+ and # allowed)."),
    ] = None,
    broker: Annotated[
        str | None,
        typer.Option(help="Broker for --watch, mqtt://host:port; that of the settings where absent."),
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="End --watch after so many messages; 0: never.")] = 0,
    only: Annotated[
        list[Section] | None, typer.Option(help="Show this alone; give it again for more.")
    ] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a message.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show what the hub makes of payloads: readings, rejects with their path, FHIR, line protocol.

    Stores nothing and tells nobody. Exit code 1 where something of a payload can't be used.

    For example:

        hub devices decode --device mon-1 '{"values":{"heart_rate":72}}'

        hub devices decode --device my-pump.toml --topic pumps/icu/p-1 @payload.json --received sent

        hub devices decode --watch 'iomt/#' --broker mqtt://broker.example:1883 --only rejects
    """
    settings = settings_or_fail(config)
    files = []
    if device is not None and device.endswith(".toml"):
        files = [Path(device)]
        device = files[0].stem
    catalog = catalog_or_fail(config, files=files)

    def show(shown: Preview) -> None:
        if json_lines:
            print(as_json(shown, only or []))
        else:
            print("\n".join(as_text(shown, only or [])))

    if watch is not None:
        if payloads or topic:
            raise typer.BadParameter("--watch takes payloads and topics from the broker")
        _watch(settings, catalog, watch, broker, count, show)
        return
    _check_subject(catalog, device, topic)
    if not payloads:
        raise typer.BadParameter("give a payload: the text itself, @FILE, or - for standard input")
    received_ns = _received_ns(received, settings)
    previewer = _previewer(catalog, settings, _registered(settings))
    rejected = False
    for payload in map(_payload, payloads):
        shown = _best(catalog, previewer, topic, device or "", payload, received_ns, settings)
        rejected |= bool(shown["rejects"])
        show(shown)
    raise typer.Exit(FAILED if rejected else 0)


def _check_subject(catalog: Catalog, device: str | None, topic: str | None) -> None:
    if device is None and topic is None:
        raise typer.BadParameter("give --device, --topic or --watch")
    if device is None or topic is None:
        return
    if device not in catalog.definitions:
        raise typer.BadParameter(f"--topic names a device already, and {device!r} is no definition")
    route = catalog.resolve(topic)
    if route is None:
        fail(f"{topic}: {catalog.explain(topic)}")
    if device not in route.definition.split("+"):
        fail(f"{topic} is a topic of {route.definition}, not of {device}")


def _received_ns(received: str, settings: Settings) -> int | None:
    """Return when payloads arrive; None for when they were sent."""
    if received == "sent":
        return None
    if received == "now":
        return time.time_ns()
    try:
        return iso_ns(received, ZoneInfo(settings.time_zone))
    except NotATimeError as error:
        raise typer.BadParameter(f"--received {received!r}: {error}; or now, or sent") from None


def _previewer(catalog: Catalog, settings: Settings, registered: Lookup | None) -> Previewer:
    return Previewer(
        catalog,
        clock=settings.clock.limits(),
        backlog_ns=round(settings.line.backlog_s * SECOND_NS),
        registered=registered,
    )


def _registered(settings: Settings) -> Lookup | None:
    """Return what looks up devices in the registry as it is now; None where it can't be had."""

    async def load() -> Lookup:
        registry = await _registry(settings)
        if registry is None:
            return _nobody
        await registry.stop()
        return registry.device

    try:
        return asyncio.run(load())
    except RegistryUnavailable as error:
        print(f"note: whether devices are registered isn't known: {error}", file=sys.stderr)
        return None


def _nobody(_site: str, _device: str) -> DeviceEntry | None:
    """Look up in a registry that was never made."""
    return None


async def _registry(settings: Settings) -> Registry | None:
    """Return the registry, started; None where none was made yet. Raises RegistryUnavailable."""
    if settings.database_url is None and not settings.data_dir.joinpath("registry.sqlite").exists():
        return None
    registry = Registry(settings.registry_url)
    await registry.start()
    return registry


def _best(
    catalog: Catalog,
    previewer: Previewer,
    topic: str | None,
    device: str,
    payload: bytes,
    received_ns: int | None,
    settings: Settings,
) -> Preview:
    """Show a payload on its topic, or on the topic of the definition that makes most of it."""
    if topic is not None:
        return previewer.show(topic, payload, received_ns)
    definition = catalog.definitions.get(device)
    if definition is None:
        if not is_id(device):
            fail(f"{device!r} is no definition and no id of a device; `hub devices list` has the definitions")
        return previewer.show(f"wards/v1/{settings.site}/main/{device}/observations", payload, received_ns)
    shown = [previewer.show(one, payload, received_ns, made_up=True) for one in example_topics(definition)]
    return min(shown, key=lambda one: (not _useful(one), len(one["rejects"])))


def _useful(shown: Preview) -> bool:
    return any(
        (shown["readings"], shown["statuses"], shown["alarms"], shown["sightings"], shown["waveforms"])
    )


def _watch(
    settings: Settings,
    catalog: Catalog,
    topic: str,
    broker: str | None,
    count: int,
    show: Callable[[Preview], None],
) -> None:
    try:
        check_filter(topic)
        address = _address(settings, broker)
    except (TopicError, ValueError) as error:
        fail(str(error))

    async def run() -> None:
        registry = await _registry(settings)
        previewer = _previewer(
            catalog, settings, registry.device if registry else lambda _site, _device: None
        )
        done = asyncio.Event()
        left = count

        def deliver(delivery: Delivery) -> None:
            nonlocal left
            for message in delivery.messages:
                show(previewer.show(message.topic, message.payload, delivery.received_ns))
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
        following = asyncio.create_task(_follow(registry))
        await asyncio.wait({watching, stop}, return_when=asyncio.FIRST_COMPLETED)
        for task in (watching, stop, following):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if registry is not None:
            await registry.stop()

    with suppress(KeyboardInterrupt):
        try:
            asyncio.run(run())
        except (BrokerUnreachable, BrokerRefused, RegistryUnavailable) as error:
            fail(str(error), UNAVAILABLE)


async def _follow(registry: Registry | None) -> None:
    while registry is not None:
        await asyncio.sleep(_FOLLOW_S)
        await registry.follow()


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
