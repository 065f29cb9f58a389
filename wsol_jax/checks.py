"""Checks of configuration values: each raises one `InputError` line that names the key and the expected value."""

import math
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from ml_collections import ConfigDict

from wsol_jax.errors import InputError

MOST_SHOWN = 200  # characters of a value in an error
MOST_NAMED = 10**30  # bytes that an error names; a float holds no more than 1e308


def require(config: ConfigDict, key: str, condition: bool, expected: str) -> None:
    """Raise if a condition on a value does not hold.

    Args:
        config: the keys of one owner, e.g. `config.predict`.
        key: one of them.
        condition: whether the value is valid.
        expected: the valid values, in words.

    Raises:
        InputError: the condition does not hold.
    """
    if not condition:
        raise InputError(f"{key} is {shown(config[key])}; expected {expected}")


def shown(value: object) -> str:
    """Return a value as Python writes it, of which an error shows no more than its beginning."""
    text = repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def one_of(config: ConfigDict, key: str, allowed: Collection[str]) -> None:
    """Raise unless a value is one of `allowed`."""
    require(config, key, config[key] in allowed, f"one of {', '.join(allowed)}")


def positive(config: ConfigDict, *keys: str) -> None:
    """Raise unless every value is finite and above zero."""
    for key in keys:
        require(config, key, 0 < config[key] < math.inf, "a positive number")


def not_negative(config: ConfigDict, *keys: str) -> None:
    """Raise unless every value is finite and zero or above."""
    for key in keys:
        require(config, key, 0 <= config[key] < math.inf, "0 or a positive number")


def fraction(config: ConfigDict, *keys: str) -> None:
    """Raise unless every value is in [0, 1]."""
    for key in keys:
        require(config, key, 0 <= config[key] <= 1, "a number from 0 to 1")


def batch_size(config: ConfigDict, devices: int) -> None:
    """Raise unless `batch_size` is positive and `devices` devices can share a batch evenly."""
    positive(config, "batch_size")
    require(config, "batch_size", config.batch_size % devices == 0, f"a multiple of the {devices} devices")


def at_most(config: ConfigDict, key: str, limit: float) -> None:
    """Raise unless a value is no more than a limit."""
    require(config, key, config[key] <= limit, f"at most {limit:g}")


def memory(config: ConfigDict, key: str, needed: float, purpose: str) -> None:
    """Raise if a value needs more memory than the machine has; before it is tried, since that may take minutes.

    Args:
        config: the keys of one owner.
        key: one of them.
        needed: bytes, at the least.
        purpose: what needs them, in words.

    Raises:
        InputError: there is less memory.
    """
    present = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > present:
        gibibytes = min(needed, MOST_NAMED) / 2**30
        raise InputError(
            f"{key} is {shown(config[key])}: {purpose} would need {gibibytes:,.0f} GiB of memory at the least, and "
            f"this machine has {present / 2**30:,.0f}; expected a smaller value"
        )


@contextmanager
def prefixed(prefix: str) -> Iterator[None]:
    """Put `prefix` in front of the message of an `InputError` raised inside of the block.

    An owner of keys names them as it knows them; whoever calls it adds where its keys are.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{prefix}{error}") from error
