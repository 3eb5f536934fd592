"""A socket that is read until a deadline, however little comes at a time."""

import math
import socket
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TimedSocket(socket.socket):
    """The timeout of a socket is that of one read: a byte in time, again and again, evades it.

    Attributes:
        deadline: when reading through its file (``makefile``) ends; monotonic seconds.
    """

    deadline = math.inf

    def recv_into(self, buffer: "Any", nbytes: int = 0, flags: int = 0) -> int:
        """Read what is there.

        Raises:
            TimeoutError: the deadline has passed.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.settimeout(left if left < math.inf else None)
        return super().recv_into(buffer, nbytes, flags)
