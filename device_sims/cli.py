"""The command line of the simulators: `ward-sims replay | ward | load | proxy`."""

import logging
import sys
from typing import Annotated

import typer

from device_sims.commands.load import load
from device_sims.commands.proxy import proxy
from device_sims.commands.replay import replay
from device_sims.commands.ward import ward
from device_sims.errors import SimsError

app = typer.Typer(
    name="ward-sims",
    help="Simulated bedside devices: recorded patients, a simulated ward, a load test.\n\n"
    "Exit codes: 0 done; 1 something was lost or an expectation was not met; 2 wrong option or file; "
    "3 broker or hub unreachable or login refused; 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(replay)
app.command()(ward)
app.command()(load)
app.command()(proxy)


@app.callback()
def _options(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell of lost and regained links.")
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )


def main() -> None:
    """Run the command line; every failure is one message and an exit code."""
    try:
        app()
    except SimsError as error:
        typer.echo(f"ward-sims: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
