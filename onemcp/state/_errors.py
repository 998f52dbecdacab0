"""What is wrong with the state directory."""


class StateError(Exception):
    """A file in the state directory cannot be used; the message names it and what to do about it.

    It speaks to the operator, and never holds any part of a secret.
    """


class StateUnwritable(StateError):
    """The state directory cannot be written to, or not be made at all."""
