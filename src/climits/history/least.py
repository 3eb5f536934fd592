"""The least limit under which a command still works: bisection over what one run tells.  Pure."""

from ..records import Record
from ..units import PAGE_SIZE, UNLIMITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ..records import Limit

DEFAULT_TOLERANCE, DEFAULT_RUNS = 5.0, 20
#: The first run, one that fails and two that work.
LEAST_RUNS = 4
#: Where the search begins: no program starts under less (see climits.program.verdict).
_FLOOR = 128 * 1024
#: Limits closer than this are not told apart: the kernel charges 64 pages at a time, on each CPU.
_GRAIN = 256 * 1024
#: How far up to go when not even the first peak was enough.
_UP = 1.25


class Trial(Record):
    """One run of the command.

    Attributes:
        limit: the memory limit, bytes or UNLIMITED.
        works: it ended as without a limit, nothing of it OOM-killed, and in time.
        outcome: how it ended, for people.
        memory_peak: highest usage, bytes.
        duration: wall time, seconds.
    """

    limit: "Limit"
    works: bool
    outcome: str
    memory_peak: "int | None" = None
    duration: "float | None" = None


class Least(Record):
    """What the search found.

    Attributes:
        limit: the least limit under which it worked, bytes; None: under none that was tried.
        too_little: the highest limit below that under which it failed, bytes; None: none did.
        confirmed: it worked twice under `limit`.
        trials: the runs, in order.
    """

    limit: "int | None"
    too_little: "int | None"
    confirmed: bool
    trials: "list[Trial]"


def find_least(
    attempt: "Callable[[int], Trial]", peak: int, *, tolerance: float, runs: int
) -> Least:
    """Search for the least limit, by ever closer runs.

    Sizes of programs differ by powers, so the middle is the geometric one: a tolerance in per cent
    then takes as many runs for 10 MiB as for 10 GiB.

    Args:
        attempt: runs the command once under a limit, bytes.
        peak: what it used without a limit, bytes.
        tolerance: per cent by which the limit may be too large.
        runs: attempts at most.
    """
    low, high = _FLOOR, max(_pages(peak), _FLOOR) + _GRAIN
    worked: dict[int, int] = {}  # limit: how often
    failed: list[int] = []
    trials: list[Trial] = []
    while len(trials) < runs and worked.get(high, 0) < 2:
        close = high - low <= max(low * tolerance / 100, _GRAIN)
        # The last run is kept to show that what was found does work, or to show it once more.
        last = len(trials) == runs - 1
        limit = high if close or last else _pages((low * high) ** 0.5)
        trial = attempt(limit)
        trials.append(trial)
        if trial.works:
            worked[limit] = worked.get(limit, 0) + 1
            high = limit
        else:
            failed.append(limit)
            worked.pop(limit, None)
            low = limit
            if low >= high:
                above = [other for other in worked if other > low]
                high = min(above, default=_pages(high * _UP))
    least = min((limit for limit in worked if limit > max(failed, default=0)), default=None)
    below = [limit for limit in failed if least is not None and limit < least]
    return Least(
        limit=least,
        too_little=max(below, default=None),
        confirmed=worked.get(least or 0, 0) > 1,
        trials=trials,
    )


def _pages(size: float) -> int:
    return -(-int(size) // PAGE_SIZE) * PAGE_SIZE


def shown_limit(trial: Trial) -> str:
    """The limit of a run, for a table."""
    from ..units import format_size

    return "none" if trial.limit == UNLIMITED else format_size(trial.limit)
