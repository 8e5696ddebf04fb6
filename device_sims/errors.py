"""What a command tells when it can't go on: one message that says what to change, and an exit code."""


class SimsError(Exception):
    """A command can't go on. The message is for the person at the terminal."""

    exit_code = 1


class InputError(SimsError):
    """An option or a file is wrong."""

    exit_code = 2


class BrokerError(SimsError):
    """The broker or the hub can't be reached or refuses this client."""

    exit_code = 3


class LostError(SimsError):
    """The run ended with messages that nobody acknowledged."""

    exit_code = 1
