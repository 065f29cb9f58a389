"""Signs of life of the processes of a run: one that is killed, or whose host is gone, cannot give the reason itself.

JAX's coordination service would notice it as well, but then aborts the others with many lines of its own and code 134,
and Python cannot replace that.
"""

import time
from typing import Any

from wsol_jax import processes

SECONDS = 100  # without a sign of life; more than a compilation may keep Python from running on a busy machine
SECONDS_AFTER_ERROR = 10  # the same, once an error of JAX has shown that something is wrong
SECONDS_OF_JAX = SECONDS + 20  # until JAX aborts, which is to be later
_FOLDER = "wsol_jax/alive/"


class Heartbeats:
    """The signs of life of all processes, and when this one received them.

    Raises:
        jax.errors.JaxRuntimeError: by every method, JAX's coordination does not answer.
    """

    def __init__(self, client: Any) -> None:
        """Start to listen.

        Args:
            client: of JAX's coordination.
        """
        self._client, self._sent = client, 0
        self._received = {str(number): ("", time.monotonic()) for number in range(processes.count())}

    def send(self) -> None:
        """Write a sign of life of this process."""
        self._sent += 1
        self._client.key_value_set(f"{_FOLDER}{processes.number()}", str(self._sent), allow_overwrite=True)

    def silent(self, seconds: float) -> int | None:
        """Return a process that has given no sign for some seconds, or None; to be called often.

        Args:
            seconds: without a sign of life.
        """
        now = time.monotonic()
        for key, sign in self._client.key_value_dir_get(_FOLDER):
            number = key.rpartition("/")[2]
            if self._received[number][0] != sign:
                self._received[number] = sign, now
        return next((int(number) for number, (_, since) in self._received.items() if now - since > seconds), None)
