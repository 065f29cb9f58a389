"""The one kind of error that a user can correct."""


class InputError(Exception):
    """A wrong input: a file, a key, a shape, a value.

    The message is one line that names the input, its value and the expected one; `launch.py` prints it and exits
    with 2.
    """
