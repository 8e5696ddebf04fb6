"""`hub devices`: device definitions, written, checked and tried offline; devices, registered."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hub import golden
from hub.commands.add_device import add
from hub.commands.decode import catalog_or_fail, decode
from hub.commands.outcome import CONFIG, FAILED, fail
from hub.commands.run import ConfigOption
from hub.devices.catalog import BUILT_IN
from hub.devices.check import check as check_files
from hub.devices.iomt import convert
from hub.devices.payload import UnreadableError
from hub.devices.propose import propose
from hub.mqtt.topics import TopicError, TopicPattern

app = typer.Typer(
    no_args_is_help=True,
    help="Write, check and try device definitions; register devices. Needs no running hub.",
)
app.command()(decode)
app.command()(add)

OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where to write the definition; standard output else.")
]
TopicOption = Annotated[
    str, typer.Option("--topic", help="Pattern of its topics; {device} where the topic names the device.")
]


@app.command("list")
def list_definitions(*, config: ConfigOption = None) -> None:
    """List the definitions that the hub would load, with the topics that they take.

    For example:

        hub devices list

        hub devices list --config /etc/wardhub/hub.toml
    """
    catalog = catalog_or_fail(config)
    table = Table("definition", "topics", "interval (s)")
    for name, definition in catalog.definitions.items():
        topics = "\n".join(topic.pattern for topic in definition.topic)
        table.add_row(name, topics, f"{definition.interval_s:g}")
    Console().print(table)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A definition, as `hub devices list` names it.")],
    *,
    config: ConfigOption = None,
) -> None:
    """Print a definition, for instance a built-in one to begin an own one with.

    For example:

        hub devices show teleicu > my-definitions/teleicu.toml
    """
    files = catalog_or_fail(config).files
    if name not in files:
        fail(f"{name!r} is no definition; there are {', '.join(files)}", FAILED)
    print(files[name].read_text(encoding="utf-8"), end="")


@app.command()
def check(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders; the built-in definitions where absent.")
    ] = None,
    *,
    samples: Annotated[
        list[Path] | None,
        typer.Option(help="A payload that the definitions should read; give it again for each."),
    ] = None,
    topics: Annotated[
        list[str] | None,
        typer.Option("--topic", help="A topic that a device really publishes on; give it again for each."),
    ] = None,
) -> None:
    """Check definition files; print every error and warning with file, line and key. Exit code 1 on errors.

    For example:

        hub devices check my-monitor.toml --samples payload.json --topic acme/B.12/monitor-7

        hub devices check /etc/wardhub/definitions
    """
    problems = check_files(paths or [BUILT_IN], samples or [], topics or [])
    for problem in problems:
        print(problem)
    errors = sum(problem.severity == "error" for problem in problems)
    print(f"{errors} errors, {len(problems) - errors} warnings", file=sys.stderr)
    raise typer.Exit(FAILED if errors else 0)


@app.command("test")
def run_cases(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders with cases below: <definition>/<case>/topic.txt.")
    ],
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Write expected.json, for you to look at.")
    ] = False,
    definitions: Annotated[
        list[Path] | None, typer.Option(help="Folders with definitions, beside those of the settings.")
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Run golden cases: does each payload become what is expected? Exit code 1 where one doesn't.

    A case is a folder with `topic.txt`, one `payload.*` and `expected.json`: site, area, readings, statuses,
    alarms, sightings, waveforms and rejects as `hub devices decode --json` prints them.

    For example:

        hub devices test my-cases --definitions my-definitions
    """
    catalog = catalog_or_fail(config, definitions or [])
    found = golden.folders(folders)
    if not found:
        fail(
            f"no topic.txt below {', '.join(map(str, folders))}: a case is <definition>/<case>/topic.txt",
            CONFIG,
        )
    failed = 0
    for folder in found:
        case = golden.run(folder, catalog)
        if update and case.problems and case.got is not None:
            golden.update(case)
            print(f"written  {case.name}")
            continue
        failed += bool(case.problems)
        print(f"{'FAILED' if case.problems else 'ok':8} {case.name}")
        for problem in case.problems:
            print(f"         {problem}")
    for gap in golden.lacking(found):
        print(f"warning: {gap}", file=sys.stderr)
    print(f"{len(found) - failed} of {len(found)} cases as expected", file=sys.stderr)
    raise typer.Exit(FAILED if failed else 0)


@app.command()
def new(
    payloads: Annotated[list[Path], typer.Argument(help="Files, each the payload of one message, JSON.")],
    *,
    topic: TopicOption,
    title: Annotated[str, typer.Option(help="What the device is.")] = "New device",
    output: OutputOption = None,
) -> None:
    """Propose a definition from sample payloads, for you to finish: paths, units and times are guessed.

    For example:

        hub devices new sample-1.json sample-2.json --topic 'acme/{device}/data' -o acme.toml
    """
    _pattern_or_fail(topic)
    try:
        text = propose([_read(payload) for payload in payloads], topic, title)
    except UnreadableError as error:
        fallback = ", ".join(
            name for payload in payloads for name in catalog_or_fail(None).fitting(_read(payload))
        )
        known = f"; {fallback} would read it" if fallback else ""
        fail(f"a sample {error}{known}", FAILED)
    _write(text, output)


@app.command("import-iomt")
def import_iomt(
    content: Annotated[Path, typer.Argument(help="The device content template, devicecontent.json.")],
    mapping: Annotated[Path, typer.Argument(help="The FHIR mapping, fhirmapping.json.")],
    *,
    topic: TopicOption = "devices/{device}/messages/events/{properties...}",
    each: Annotated[str, typer.Option(help="Where the records are: Body[*] in IoT Hub's envelope.")] = "",
    title: Annotated[str, typer.Option(help="What the devices are.")] = "Converted from IoMT templates",
    output: OutputOption = None,
) -> None:
    """Convert templates of the IoMT connector to a definition; report what can't be, with exit code 1.

    For example:

        hub devices import-iomt devicecontent.json fhirmapping.json --topic 'iomt/{device}' -o mine.toml
    """
    _pattern_or_fail(topic)
    try:
        imported = convert(_read(content), _read(mapping), topic=topic, title=title, each=each)
    except UnreadableError as error:
        fail(f"a template {error}", FAILED)
    _write(imported.text, output)
    for reason in imported.unconverted:
        print(f"not converted: {reason}", file=sys.stderr)
    raise typer.Exit(FAILED if imported.unconverted else 0)


def _pattern_or_fail(topic: str) -> None:
    try:
        TopicPattern(topic)
    except TopicError as error:
        fail(str(error), FAILED)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path}: {error.strerror}", FAILED)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        print(text, end="")
        return
    if output.exists():
        fail(f"{output} exists: name another file, or remove it", FAILED)
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{output}: {error.strerror}", FAILED)
    print(f"{output} is written; next: hub devices check {output}", file=sys.stderr)
