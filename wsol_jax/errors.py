"""The one kind of error that is the user's to mend."""


class InputError(Exception):
    """Something given from outside is wrong: a file, a key, a shape, a value.

    The message is one line that names the thing and says what was expected; `launch.py` prints it and exits with 2.
    """
