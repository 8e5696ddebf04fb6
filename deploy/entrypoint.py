# ruff: noqa: INP001 - a script of the image, no package
"""Put secrets from files into the hub's settings, then become the command.

`{{secret NAME}}` in the value of a HUB_ variable stands for the content of /run/secrets/NAME, so that no
secret is in the image, in compose.yaml or in `docker inspect`.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

SECRETS = Path("/run/secrets")
_PLACE = re.compile(r"\{\{secret ([A-Za-z0-9_-]+)\}\}")


class SecretMissing(Exception):  # noqa: N818 - a state, told to whoever starts the container
    """A secret that a variable names can't be read; the message says which."""


def filled(environment: Mapping[str, str], secrets: Path = SECRETS) -> dict[str, str]:
    """Return the environment with the secrets in place, escaped for the JSON that such variables hold."""

    def secret(found: re.Match[str]) -> str:
        try:
            text = (secrets / found[1]).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SecretMissing(f"secret {found[1]}: {error.strerror}; run deploy/make_secrets.sh") from error
        return json.dumps(text)[1:-1]

    return {
        name: _PLACE.sub(secret, value) if name.startswith("HUB_") else value
        for name, value in environment.items()
    }


def main() -> None:
    """Run the command of the arguments with the secrets in its environment."""
    try:
        environment = filled(os.environ)
    except SecretMissing as error:
        sys.exit(str(error))
    os.execvpe(sys.argv[1], sys.argv[1:], environment)  # noqa: S606 - the container's command


if __name__ == "__main__":
    main()
