"""The command line: `hub …`. Each command lives in a module of its own in `hub/commands`."""

import typer

from hub import __version__
from hub.commands import alarms, clients, demo, devices, doctor, patients, rejects, run, tokens, users

app = typer.Typer(
    name="hub",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Connects the devices at hospital beds: MQTT in; live values, alarms and time series out.\n\n"
    "Exit codes: 0 done, 1 something is wrong with what was looked at, 2 wrong usage, 69 something can't be "
    "reached (try again later), 78 wrong settings or files (change them).",
)
app.command("demo")(demo.demo)
app.command("run")(run.run)
app.command("doctor")(doctor.doctor)
app.command("news2")(alarms.news2)
app.add_typer(alarms.app, name="alarms")
app.add_typer(devices.app, name="devices")
app.add_typer(rejects.app, name="rejects")
app.add_typer(tokens.app, name="token")
app.add_typer(clients.app, name="client")
app.add_typer(users.app, name="user")
app.add_typer(patients.app, name="patients")


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        typer.echo(f"hub {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
