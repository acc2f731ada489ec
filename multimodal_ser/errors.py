"""The two kinds of failure that are not bugs; the command line turns them into exit codes."""


class InputError(ValueError):
    """What the user gave is wrong: one message that says what, why, and what is allowed (exit 2)."""


class SomeFailed(RuntimeError):
    """Part of the work is done and some items failed; the message says where they are listed (exit 3)."""
