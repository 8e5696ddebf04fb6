"""Why nobody came in: by the provider's doing, or because of who came."""

from typing import Literal

Reason = Literal["no-role", "name-taken", "expired", "declined", "failed", "unreachable"]
"""Why nobody is signed in: the page has words for each (`signInRefused` in its i18n)."""


class ProviderUnavailable(Exception):  # noqa: N818 - a state, told to whoever operates the hub
    """The provider can't be reached or is not what the settings say; the message tells what to change."""


class SignInRefused(Exception):  # noqa: N818 - a state, told to the person
    """Somebody came back from the provider and is not let in.

    `reason` is for the person, the message for who operates the hub; it names nobody. `who` is for the audit.
    """

    def __init__(self, reason: Reason, message: str, who: str = "") -> None:
        super().__init__(message)
        self.reason: Reason = reason
        self.who = who
