"""When to look again.  Pure."""

#: Seconds between two looks, at least and at most.
LEAST, MOST = 0.001, 0.1
#: Bytes a second that a program that was quiet until now may suddenly need.  Measured: one thread
#: touches 1 to 2.5 GiB of new memory a second.
_BURST = 2 << 30
#: Part of one CPU's time that looking may take; and while the program grows towards its limit.
_QUIET, _GROWING = 0.02, 0.25
#: Seconds in which the limit would be reached at the present rate: that is growing towards it.
_SOON = 1.0
#: Seconds after which growth counts for half as much.
_HALF_LIFE = 0.05


class Pace:
    """How long to wait before the next look: by the room that is left, the growth, and the cost.

    Attributes:
        rate: how fast the memory grew of late, bytes a second.
    """

    def __init__(self, limit: int) -> None:
        """Nothing was seen yet.

        Args:
            limit: bytes.
        """
        self._limit = limit
        self._last: tuple[float, int] | None = None
        self._cost = 0.0
        self.rate = 0.0

    def wait(self, used: int, at: float, cost: float) -> float:
        """Seconds to wait after a look.

        Args:
            used: what was found, bytes.
            at: when, seconds on any clock.
            cost: CPU time that the look took, seconds.
        """
        # The lower of two: one that had to look at every process of the host is an exception.
        cost, self._cost = min(cost, self._cost), cost
        if self._last is not None:
            passed, grown = max(at - self._last[0], 1e-6), used - self._last[1]
            self.rate = max(grown / passed, self.rate * 0.5 ** (passed / _HALF_LIFE))
        self._last = at, used
        room = max(self._limit - used, 0)
        share = _GROWING if self.rate * _SOON > room else _QUIET
        # Half of the time that is left at that speed: on a busy machine we are woken late.
        wait = max(room / max(_BURST, 2 * self.rate) / 2, cost * (1 / share - 1))
        return min(max(wait, LEAST), MOST)
