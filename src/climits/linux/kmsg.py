"""OOM kills in the kernel log.

The log names whom the OOM killer took and whose limit it was, which no counter tells.  It is read
only after a counter has moved, and never trusted to be complete: it may be unreadable
(kernel.dmesg_restrict), overwritten, or rate-limited.

Source: Documentation/ABI/testing/dev-kmsg, mm/oom_kill.c (dump_oom_victim, __oom_kill_process),
mm/memcontrol.c (mem_cgroup_print_oom_meminfo).
"""

import _thread
import os
import time

from ..records import KilledProcess
from ..units import whole_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

#: The "Killed process" line is written after the signal was sent: it may come this much later.
_LATEST = 0.1  # seconds

_KIB = 1024


def oom_kills(
    cgroup: str, since: float, expected: int, but: "Container[int]" = ()
) -> "list[KilledProcess] | None":
    """The OOM kills of processes in a cgroup.

    Args:
        cgroup: its path, such as /climits/web.
        since: time.clock_gettime(CLOCK_BOOTTIME) at its start, seconds: older messages are of
            another cgroup of that name.
        expected: the kills that the counters tell of; when fewer are found, a short wait.
        but: processes that are known to be of another run in that cgroup.

    Returns:
        In the order of the log; None when the log cannot be read.
    """
    deadline = time.monotonic() + _LATEST
    while True:
        try:
            kills = parse_oom_kills(log.messages(since), cgroup)
        except OSError:
            return None
        found = [kill for kill in kills if kill.pid not in but]
        if len(found) >= expected or time.monotonic() > deadline:
            return found
        time.sleep(0.002)


class KernelLog:
    """Follows /dev/kmsg: each message is read once, and those about OOM kills are kept.

    Reading the whole log takes milliseconds, which a restart does not have.
    """

    def __init__(self) -> None:
        self._fd = self._owner = -1
        self._kept: list[tuple[int, str]] = []
        self._lock = _thread.allocate_lock()

    def follow(self) -> None:
        """Begin at the end: what was logged so far is of no interest.

        Raises:
            OSError: the log cannot be read.
        """
        with self._lock:
            self._open()
            os.lseek(self._fd, 0, os.SEEK_END)

    def messages(self, since: float) -> list[str]:
        """Texts that tell of OOM kills, from `since` on (CLOCK_BOOTTIME, seconds).

        Raises:
            OSError: the log cannot be read.
        """
        # The log's clock (local_clock) may run a little apart from CLOCK_BOOTTIME, and does not
        # count time asleep; a second of margin costs nothing, since the cgroup's name is compared.
        slept = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        oldest = (since - slept - 1.0) * 1e6
        with self._lock:
            self._open()
            try:
                self._drain()
            except OSError:
                os.close(self._fd)
                self._fd = -1
                raise
            return [text for at, text in self._kept if at >= oldest]

    def _open(self) -> None:
        # A fork shares the place in the log: what it read, we would miss.
        if self._fd < 0 or self._owner != os.getpid():
            self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
            self._owner = os.getpid()

    def _drain(self) -> None:
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                del self._kept[:-_MOST_KEPT]
                return
            except BrokenPipeError:
                continue  # the oldest messages were overwritten while we read
            head, _, text = record.partition(b";")
            if b"Killed process " in text or text.startswith(_TELLING):
                line = _unescape(text.partition(b"\n")[0]).decode("utf-8", "replace")
                self._kept.append((int(head.split(b",")[2]), line))


#: The log of this machine.
log = KernelLog()

_TELLING = (b"memory: usage ", b"oom-kill:constraint=", b"Tasks in ")
_MOST_KEPT = 4096


def _unescape(text: bytes) -> bytes:
    """Undo the \\xNN that the log writes for what is not printable ASCII."""
    first, *rest = text.split(b"\\x")
    return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)


def parse_oom_kills(messages: "Iterable[str]", cgroup: str) -> list[KilledProcess]:
    """Pick the kills of processes in `cgroup` out of the kernel log.

    Args:
        messages: texts of the log, in order.
        cgroup: path; inside a cgroup namespace the log's paths are longer and end with it.

    Returns:
        May be empty; a process whose report was rate-limited away is not in it.
    """
    kills: dict[int, KilledProcess] = {}
    usage: int | None = None
    limit: int | None = None
    victims: dict[int, str | None] = {}  # pid: the cgroup whose limit was hit
    group: str | None = None  # the cgroup that is being killed as a whole, if it is ours
    for text in messages:
        if text.startswith("memory: usage "):
            usage, limit = _kib(text, "usage "), _kib(text, "limit ")
        elif text.startswith("oom-kill:constraint="):
            group = None
            victim = _victim(text)
            if victim is None:
                continue
            pid, lived_in, limited_by = victim
            if limited_by is None:
                usage = limit = None
            if _is_in(lived_in, cgroup):
                victims[pid] = limited_by
        elif text.startswith("Tasks in ") and text.endswith(_GROUP_END):
            path = text[len("Tasks in ") : -len(_GROUP_END)]
            # Of a group above ours it cannot be told which victims were ours.
            group = path if _is_in(path, cgroup) else None
        elif "Killed process " in text:
            killed = _killed(text)
            if killed is None or killed.pid in kills:
                continue
            if killed.pid in victims:
                by = victims.pop(killed.pid)
                kills[killed.pid] = killed.replace(limited_by=by, usage=usage, limit=limit)
            elif group is not None:  # the rest of a group has no report of its own
                kills[killed.pid] = killed.replace(limited_by=group, usage=usage, limit=limit)
    return list(kills.values())


_GROUP_END = " are going to be killed due to memory.oom.group set"


def _is_in(path: str, cgroup: str) -> bool:
    """Whether a path of the log is of the cgroup or of one that the program made below it."""
    return cgroup + "/" in path + "/"


def _victim(text: str) -> "tuple[int, str, str | None] | None":
    """Of a report's last line: (pid, its cgroup, whose limit was hit or None for the machine's).

    None for a line that the kernel has cut, as it does with long paths.
    """
    head, _, rest = text.partition(",task_memcg=")
    lived_in, _, rest = rest.partition(",task=")  # a name may hold commas and equal signs too
    pid = whole_number(rest.rpartition(",pid=")[2].partition(",")[0])
    if pid is None:
        return None
    return pid, lived_in, head.partition(",oom_memcg=")[2] or None


def _killed(text: str) -> "KilledProcess | None":
    """``Killed process 4927 (stress) total-vm:...kB, anon-rss:...kB, file-rss:...kB, ...``."""
    digits, _, rest = text.partition("Killed process ")[2].partition(" (")
    name, separator, figures = rest.rpartition(") total-vm:")
    pid = whole_number(digits)
    if not separator or pid is None:
        return None
    return KilledProcess(
        pid=pid,
        name=name,
        anon=_kib(figures, "anon-rss:"),
        file=_kib(figures, "file-rss:"),
        shmem=_kib(figures, "shmem-rss:"),
    )


def _kib(text: str, label: str) -> "int | None":
    """The figure between a label and ``kB``, as bytes."""
    number = whole_number(text.partition(label)[2].partition("kB")[0])
    return None if number is None else number * _KIB
