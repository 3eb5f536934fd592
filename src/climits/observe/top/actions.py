"""What `climits top` can do to a cgroup: asked first, then done, then told in one sentence.

The cgroup that is asked about is held open, so that it is this one that is acted upon, and not
another that took its name while somebody thought about it.
"""

import os
import signal

from ...cgroup.group import Cgroup
from ...cgroup.limits import whole_of
from ...cgroup.removal import has_hidden, pids_below, refuse_own
from ...errors import CgroupError, CgroupGoneError, CgroupPermissionError
from ...linux.proc import cgroup_paths
from ...program.verdict import signal_name
from ...supervise.config_values import signal_number
from ...units import format_size, parse_size
from ..text import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...cgroup.placement import Part

#: How long freezing and killing may take, seconds.
_FREEZE, _KILL = 10.0, 30.0


class Action:
    """One thing to do to a cgroup.

    Attributes:
        group: the cgroup, open.
        value: what was typed, where `prompt` asks for something.
    """

    #: For the title of a question.
    title = ""
    #: What to ask for first, or "".
    prompt = ""

    def __init__(self, group: Cgroup) -> None:
        self.group = group
        self.value = ""

    def default(self) -> str:
        """What stands there to be changed."""
        return ""

    def check(self) -> None:
        """Refuse, before anything is asked, what would hit us or everything.

        Raises:
            InvalidValueError: the cgroup is /, or we are in it.
        """
        refuse_own(self.group, self.title)

    def question(self) -> str:
        """What would happen, to be answered by yes or no.

        Raises:
            ClimitsError: nothing can: the value means nothing, or the cgroup is gone.
        """
        raise NotImplementedError

    def run(self) -> str:
        """Do it, and say what was done.

        Raises:
            ClimitsError: it could not be.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Give the cgroup back."""
        self.group.close()

    def is_gone(self) -> bool:
        """Whether the cgroup was removed."""
        return all(part.directory.is_gone() for part in self.group.parts)

    def _refuse_gone(self) -> None:
        if self.is_gone():
            path = self.group.path
            raise CgroupGoneError(f"the cgroup was removed: {path}", path=path)

    def _count(self) -> str:
        """``3 processes``, those below included."""
        self._refuse_gone()
        hidden = has_hidden(self.group)
        found = len(pids_below(self.group))
        text = "1 process" if found == 1 else f"{found} processes"
        return f"{text} and those of another pid namespace" if hidden else text


class SetLimit(Action):
    """Another memory limit."""

    title = "set limit"
    prompt = "memory limit: 64M, 1.5G, 50% of what is above it, or max"

    def default(self) -> str:
        """The limit that it has."""
        return size(self.group.memory.limits().max)

    def check(self) -> None:
        """Only / is refused yet: a higher limit hits nobody."""
        if self.group.path == "/":
            refuse_own(self.group, self.title)
        self._refuse_gone()

    def question(self) -> str:
        """Both limits, and what is in use."""
        memory = self.group.memory
        now, current = memory.limits().max, memory.current()
        wish = self._wish()
        if now is not None and wish < now:
            refuse_own(self.group, "a lower limit")
        text = f"change the limit from {size(now)} to {size(wish)}?  {size(current)} in use"
        if wish < current:
            text += ": the rest has to be reclaimed first, or it is refused"
        return text

    def run(self) -> str:
        """As climits set NAME memory.max=VALUE."""
        self.group.set({"memory.max": self.value})
        return f"the limit is now {size(self.group.memory.limits().max)}"

    def _wish(self) -> "int | float":
        whole = None
        if self.value.endswith("%"):
            whole = whole_of(self.group.path.rpartition("/")[0] or "/")
        return parse_size(self.value, what="limit", whole=whole)


class Freeze(Action):
    """Stop every process."""

    title = "freeze"

    def question(self) -> str:
        """How many."""
        return f"stop {self._count()}, until thawed?"

    def run(self) -> str:
        """As climits freeze."""
        self.group.freeze(_FREEZE)
        return "frozen; u thaws it"


class Thaw(Action):
    """Let every process go on."""

    title = "thaw"

    def check(self) -> None:
        """Nothing can be hit by that; / cannot be frozen."""
        if self.group.path == "/":
            refuse_own(self.group, self.title)
        self._refuse_gone()

    def question(self) -> str:
        """How many."""
        return f"let {self._count()} go on?"

    def run(self) -> str:
        """As climits thaw."""
        self.group.thaw()
        return "thawed"


class Reclaim(Action):
    """Take memory back."""

    title = "reclaim"
    prompt = "how much to take back: 20M, or a part of what is in use, such as 50%"

    def default(self) -> str:
        """Half of it."""
        return "50%"

    def check(self) -> None:
        """Only / is refused: the kernel does so too."""
        if self.group.path == "/":
            refuse_own(self.group, self.title)
        self._refuse_gone()

    def question(self) -> str:
        """How much of how much."""
        wish, current = self._wish()
        return (
            f"take {size(wish)} of {size(current)} back?  page cache is dropped, the rest swapped "
            "out; what needs it again waits"
        )

    def run(self) -> str:
        """As climits reclaim."""
        wish, before = self._wish()
        memory = self.group.memory
        after = memory.reclaim(wish) if wish > 0 else before
        return f"{format_size(max(before - after, 0))} reclaimed, {format_size(after)} in use"

    def _wish(self) -> tuple[int, int]:
        current = self.group.memory.current()
        wish = parse_size(self.value, what="size", whole=current)
        return int(min(wish, current)), current


class Kill(Action):
    """SIGKILL to all of it."""

    title = "kill"

    def question(self) -> str:
        """How many."""
        return f"kill {self._count()} (SIGKILL: nothing can be saved)?"

    def run(self) -> str:
        """As climits kill."""
        self._refuse_gone()
        return f"{self.group.kill(_KILL)} killed"


class Signal(Action):
    """A signal to each process."""

    title = "signal"
    prompt = "signal: TERM, HUP, USR1, 15, ..."

    def default(self) -> str:
        """The one by which programs are asked to end."""
        return "TERM"

    def question(self) -> str:
        """Which one, to how many."""
        name = signal_name(signal_number(self.value))
        return f"send {name} to {self._count()}?"

    def run(self) -> str:
        """To each process in it and below, as many as there are now."""
        number = signal_number(self.value)
        refuse_own(self.group, self.title)
        self._refuse_gone()
        sent, refused = send(self.group, number)
        if not sent and refused:
            raise CgroupPermissionError(
                f"cannot signal {self.group.path}: {refused} refused: operation not permitted",
                path=self.group.path,
                hint="run climits top as the user of these processes, or as root",
            )
        text = f"{signal_name(number)} sent to {sent}"
        return f"{text}, {refused} refused" if refused else text


def send(group: Cgroup, number: int) -> tuple[int, int]:
    """Send a signal to each process in a cgroup and below it.

    Returns:
        (to how many it was sent, how many we may not send it to).
    """
    sent = refused = 0
    for pid in sorted(pids_below(group)):
        try:
            fd = os.pidfd_open(pid)
        except OSError:
            continue  # it has ended meanwhile
        try:
            # Asked again with the pidfd in hand: a pid that was given away is in another cgroup.
            if any(_is_inside(pid, part) for part in group.parts):
                signal.pidfd_send_signal(fd, number)
                sent += 1
        except PermissionError:
            refused += 1
        except OSError:
            pass
        finally:
            os.close(fd)
    return sent, refused


def _is_inside(pid: int, part: "Part") -> bool:
    """Whether a process is in a cgroup, or below it, in one of its hierarchies."""
    try:
        path = part.hierarchy.path_among(cgroup_paths(pid))
        directory = part.hierarchy.directory_of(path or "/")
    except (CgroupError, OSError):  # it has ended, or is where we cannot see
        return False
    return f"{directory}/".startswith(f"{part.directory.path}/")


#: By the word of the key that asks for it.
ACTIONS: "dict[str, type[Action]]" = {
    "limit": SetLimit,
    "freeze": Freeze,
    "thaw": Thaw,
    "reclaim": Reclaim,
    "kill": Kill,
    "signal": Signal,
}


def prepare(name: str, path: str) -> Action:
    """Open a cgroup and see whether the action is one for it.

    Raises:
        CgroupGoneError: there is no such cgroup any more.
        ClimitsError: it is refused.
    """
    action = ACTIONS[name](Cgroup.open(path))
    try:
        action.check()
    except BaseException:
        action.close()
        raise
    return action


def one_line(error: "BaseException") -> str:
    """An error for people on one line, with its hint."""
    hint = getattr(error, "hint", None)
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text}; {hint}" if hint else text
