"""Turns the samples of one cgroup into the lines of a recording, and says when the next is due."""

from ...errors import CgroupError, UnsupportedError
from ...units import UNLIMITED
from .file import FIELDS, File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...cgroup.group import Cgroup
    from ...records import Result
    from ..sampler import Sample

#: Seconds from one look to the next: while usage moves, and at the longest while it does not.
FASTEST, SLOWEST = 0.05, 0.5
#: How much longer each wait is than the one before, while nothing moves.
_SLOWER = 1.5
#: Usage moves when it changes by this part of the limit, or of the peak where there is no limit.
_MOVES = 0.01
#: A line is written at least so often, seconds, even though nothing has changed.
_HEARTBEAT = 10.0

#: Memory by kind, which is not known of a moment that was not looked at.
_KINDS = ("a", "f", "s", "k")
#: A change of one of these counts as a move, however small.
_ALWAYS = ("m", "h", "x", "l", "o")


class Follower:
    """Turns the samples of one cgroup into lines.

    Attributes:
        path: of the cgroup.
        interval: seconds until it should be looked at again.
        kills: processes that were OOM-killed since it was followed.
        gone: it was found to be removed.
    """

    def __init__(
        self,
        file: File,
        number: int,
        path: str,
        group: "Cgroup | None" = None,
        *,
        kills_before: "int | None" = None,
    ) -> None:
        """Nothing is known of it yet.

        Args:
            file: where the lines go.
            number: of the program in the file; the first is 0.
            path: of the cgroup.
            group: the same, to tell when its processes are stopped; closed with the follower.
            kills_before: its count of OOM kills when what is recorded began; that of the first
                sample.
        """
        self.path, self._file, self._group = path, file, group
        self._freezer = group.freezer if group else None
        self._mark = f',"i":{number}' if number else ""
        self._known: dict[str, int | float] = {}
        self._usage = self._written = 0.0
        self._unwritten: float | None = None
        self._state = ""
        self._gaps = file.gaps
        self._counted = kills_before  # by the kernel, so far
        self.interval, self.kills, self.gone = FASTEST, 0, False

    def tell(self, kind: str, at: float, rest: str = "") -> None:
        """Write what happened, seconds since the recording began, and the rest of it as JSON."""
        self._file.write(f'{{"t":{at:.3f}{self._mark},"e":"{kind}"{rest}}}\n')

    def take(self, sample: "Sample") -> None:
        """Write what is new in a sample, and decide when the next is due."""
        now = self._file.now()
        if self._gaps != self._file.gaps:
            self._gaps = self._file.gaps
            self._known.clear()
        counted_before, self._counted = self._counted, sample.oom_kill
        killed = 0 if counted_before is None else (sample.oom_kill or 0) - counted_before
        if killed > 0:
            self.tell_kills(killed, now)
            if (sample.peak or 0) > self._known.get("p", 0):
                # The moment of the kill, since when memory has been given back.
                self._write(now, self._news({"c": sample.peak})[0] + self._forget_kinds())
        text, counted = self._news({key: getattr(sample, name) for key, name in FIELDS.items()})
        moves = self._has_moved(sample) or counted
        # What moves is not stopped; and to look after that costs a third of a look.
        if (not moves or self._state) and self._tell_state(now):
            moves = True
        self.interval = FASTEST if moves else min(self.interval * _SLOWER, SLOWEST)
        self._write(now, text)

    def tell_kills(self, count: int, at: float) -> None:
        """Write that so many processes were OOM-killed."""
        self.kills += count
        self.tell("oom-kill", at, f',"count":{count}')

    def _news(self, figures: "dict[str, int | float | None]") -> tuple[str, bool]:
        """What is new as JSON, and whether a counter or a limit is among it."""
        known, text, counted = self._known, "", False
        for key, value in figures.items():
            if value.__class__ is float and value != UNLIMITED:
                value = round(value, 4)
            if value is None or known.get(key) == value:
                continue
            known[key] = value
            text += f',"{key}":"max"' if value == UNLIMITED else f',"{key}":{value}'
            counted = counted or key in _ALWAYS
        return text, counted

    def _forget_kinds(self) -> str:
        """What says that memory by kind is not known from here on, as JSON."""
        known = [key for key in _KINDS if self._known.pop(key, None) is not None]
        return "".join(f',"{key}":null' for key in known)

    def _write(self, now: float, text: str) -> None:
        if not text and now - self._written < _HEARTBEAT:
            self._unwritten = now
            return
        line = f'{{"t":{now:.3f}{self._mark}{text}}}\n'
        if text and self._unwritten is not None:
            # Until then it was as before: else it would seem to have moved ever since the last
            # line.
            self._file.write(f'{{"t":{self._unwritten:.3f}{self._mark}}}\n')
        self._unwritten, self._written = None, now
        self._file.write(line)

    def _has_moved(self, sample: "Sample") -> bool:
        """Whether usage is another than when it last moved, by enough to count."""
        usage = (sample.current or 0) + (sample.swap or 0)
        whole = sample.max
        if whole is None or whole == UNLIMITED:
            whole = sample.peak or usage
        if abs(usage - self._usage) <= whole * _MOVES:
            return False
        self._usage = usage
        return True

    def _tell_state(self, now: float) -> bool:
        """Tell when its processes were stopped or go on; whether that is so."""
        if self._group is None or self._freezer is None:
            return False
        try:
            memory = self._group.memory
            if memory.under_oom():
                state = "paused"
            elif self._freezer.is_asked():
                state = "paused" if memory.was_paused() else "frozen"
            else:
                state = ""
        except (CgroupError, UnsupportedError):
            return False  # it is gone, or there is no such thing here
        if state == self._state:
            return False
        self.tell(state or ("thawed" if self._state == "frozen" else "resumed"), now)
        self._state = state
        return True

    def take_end(self, at: float, kills: int, peak: "int | None") -> None:
        """Write how it was at the end, which came before the next look.

        Args:
            at: when, seconds since the recording began.
            kills: OOM kills that no sample told of.
            peak: the highest usage, bytes.
        """
        text = ""
        if kills > 0:
            self.tell_kills(kills, at)
            if (peak or 0) > self._known.get("p", 0):
                # Which kinds it was of the reader takes from what the kernel logged of its victim.
                text = self._news({"c": peak})[0] + self._forget_kinds()
        self._unwritten = None
        self._file.write(f'{{"t":{at:.3f}{self._mark}{text}}}\n')  # and until then as it was

    def take_result(self, result: "Result", at: float) -> None:
        """As take, of a cgroup that is gone: what was read of it before it was removed."""
        evidence = result.evidence
        if evidence is None:
            return
        usage, pressure = evidence.usage, evidence.pressure
        self.take_end(at, (result.oom_kill or 0) - self.kills, usage.peak)
        text, _ = self._news({
            "c": usage.current, "p": usage.peak, "a": usage.anon, "f": usage.file,
            "s": usage.shmem, "k": usage.kernel, "w": usage.swap_current,
            "l": evidence.events.max, "o": result.oom_kill, "u": result.cpu_time,
            "ps": pressure.memory_some if pressure else None,
            "pf": pressure.memory_full if pressure else None,
        })  # fmt: skip
        self._write(at, text)

    def close(self) -> None:
        """Give the descriptors back."""
        if self._group is not None:
            self._group.close()
