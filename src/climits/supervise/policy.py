"""What to do when a supervised program ends.  Pure: (policy, state, event, now) to a decision.

Restarts after an OOM kill and other restarts have budgets of their own, so that a leak that is
restarted once an hour never uses up what a crash loop is allowed, and the other way round.
"""

from ..records import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..records import Limit

    #: (restarts at most, within so many seconds)
    Budget = tuple[int, float]

RESTART = ("on-oom", "on-failure", "always", "never")
CHILD_OOM = ("ignore", "restart")

#: The shortest delay before a second attempt in a row, seconds: a program that dies at once would
#: otherwise take all of a CPU until its budget is used up.
FIRST_BACK_OFF = 0.1


class Policy(Record):
    """When and how a program is started again.

    Attributes:
        restart: on-oom, on-failure (an OOM kill is one), always or never.
        restart_delay: before the first restart, seconds.
        restart_delay_max: the longest delay that the back-off grows to, seconds.
        healthy_after: a program that ran so long starts the back-off anew, seconds.
        max_oom_restarts: (count, period in seconds) for restarts after an OOM kill; None: no end.
        max_restarts: the same for all others.
        grow: after an OOM kill, and only then, the next start gets so many times the memory.
        grow_max: but never more than this, bytes; None: no end.
        stop_signal: by which it is asked to end.
        stop_timeout: from there to SIGKILL of the whole cgroup, seconds.
        child_oom: a child was OOM-killed and the program lives: ignore, or restart it.
    """

    restart: str = "on-oom"
    restart_delay: float = 0.0
    restart_delay_max: float = 60.0
    healthy_after: float = 10.0
    max_oom_restarts: "Budget | None" = (10, 60.0)
    max_restarts: "Budget | None" = (10, 60.0)
    grow: "float | None" = None
    grow_max: "Limit | None" = None
    stop_signal: int = 15
    stop_timeout: float = 10.0
    child_oom: str = "ignore"


class State:
    """What is remembered of a program from one run to the next.

    Attributes:
        oom_restarts, restarts: when the restarts within the budget's period were, seconds.
        streak: restarts in a row of a program that did not get healthy.
    """

    __slots__ = ("oom_restarts", "restarts", "streak")

    def __init__(self) -> None:
        self.oom_restarts: tuple[float, ...] = ()
        self.restarts: tuple[float, ...] = ()
        self.streak = 0


class Decision(Record):
    """What is to be done.

    Attributes:
        action: restart, finish or give-up.
        delay: before the restart, seconds.
        memory: the new limit, bytes, or None: as before.
        reason: why it is given up.
    """

    action: str
    delay: float = 0.0
    memory: "int | None" = None
    reason: "str | None" = None


def after_end(
    policy: Policy,
    state: State,
    *,
    oom: bool,
    failed: bool,
    ran: float,
    memory: "Limit | None",
    now: float,
    chance: float,
) -> Decision:
    """Decide what follows the end of a run that nobody asked for.

    Args:
        policy: of the program.
        state: is brought up to date.
        oom: it ended by an OOM kill.
        failed: it ended otherwise than with exit status 0.
        ran: how long, seconds.
        memory: its limit, bytes, UNLIMITED or None.
        now: of a clock that never jumps, seconds.
        chance: 0 to 1, for the jitter.
    """
    if not _wants(policy.restart, oom, failed):
        return Decision(action="finish")
    if ran >= policy.healthy_after:
        state.streak = 0
    budget = policy.max_oom_restarts if oom else policy.max_restarts
    times = state.oom_restarts if oom else state.restarts
    if budget is not None:
        most, period = budget
        times = tuple(t for t in times if now - t < period)
        if len(times) >= most:
            what = "OOM kills" if oom else "restarts"
            return Decision(action="give-up", reason=f"{most} {what} within {period:g}s")
        times = (*times, now)
        if oom:
            state.oom_restarts = times
        else:
            state.restarts = times
    delay = back_off(policy, state.streak, chance)
    state.streak += 1
    return Decision(action="restart", delay=delay, memory=grown(policy, memory) if oom else None)


def _wants(restart: str, oom: bool, failed: bool) -> bool:
    if restart == "always":
        return True
    if restart == "on-failure":
        return failed or oom
    return restart == "on-oom" and oom


def back_off(policy: Policy, streak: int, chance: float) -> float:
    """The delay before a restart, seconds: doubled each time, with up to a quarter of jitter.

    The jitter keeps programs that died together from coming back together.
    """
    if streak == 0:
        return policy.restart_delay
    # 2.0**63 is far beyond any cap: more would overflow.
    delay = max(policy.restart_delay, FIRST_BACK_OFF) * 2.0 ** min(streak - 1, 63)
    return min(delay * (1 + chance / 4), policy.restart_delay_max)


def grown(policy: Policy, memory: "Limit | None") -> "int | None":
    """The next memory limit after an OOM kill, bytes; None: as it is."""
    if policy.grow is None or memory is None:
        return None
    size = memory * policy.grow
    if policy.grow_max is not None:
        size = min(size, policy.grow_max)
    return int(size) if memory < size < float("inf") else None
