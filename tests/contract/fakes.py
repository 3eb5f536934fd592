"""Memory cgroups without a kernel: directories that keep files in a dict and its rules.

Only the rules that the Memory interface leans on are here; each says which it is.  What the two
kernels really do is held against the same tests wherever they can be had.
"""

import errno

from climits.cgroup.files import Directory, refusal
from climits.errors import CgroupGoneError

PAGE = 4096
COUNTER_MAX = (2**63 - 1) // PAGE * PAGE


class FakeDirectory(Directory):
    """A directory of files in memory.

    Attributes:
        written: [(file, text)] of every write that was accepted.
        anon, cache: what is in use, bytes; only the cache can be reclaimed.
    """

    def __init__(self, files):
        self._fd, self._inode = -1, 0
        self.path = "/fake/memory/climits/contract"
        self.files = files
        self.written = []
        self.anon = self.cache = 0
        self.removed = False

    # -- what Directory offers ---------------------------------------------------------------

    def read(self, name):
        try:
            return self._content(name)
        except OSError as e:
            raise self._error("cannot read", name, e) from None

    def read_many(self, names):
        if self.removed:
            raise CgroupGoneError(f"the cgroup was removed: {self.path}", path=self.path)
        return [self._content(name) if name in self.files else None for name in names]

    def write(self, name, value, *, read_back=False):
        try:
            self._content(name)
            self._store(name, value)
        except OSError as e:
            raise self._error(f"cannot write {value}", name, e, value) from None
        self.written.append((name, value))
        return self._content(name) if read_back else b""

    def open_file(self, name, flags=0):
        raise refusal("cannot open", f"{self.path}/{name}", OSError(errno.ENOTSUP, ""))

    def has(self, name):
        return name in self.files and not self.removed

    def is_gone(self):
        return self.removed

    def pids(self):
        return []

    def children(self):
        return []

    def remove(self):
        self.removed = True

    def _error(self, action, name, e, value=None):
        return refusal(action, f"{self.path}/{name}", e, value)

    # -- the kernel --------------------------------------------------------------------------

    def _content(self, name):
        if self.removed:
            raise OSError(errno.ENODEV, "No such device")
        if name not in self.files:
            raise OSError(errno.ENOENT, "No such file or directory")
        content = self.files[name]
        return content() if callable(content) else b"%s\n" % str(content).encode()

    def _store(self, name, text):
        raise NotImplementedError

    def use(self, *, anon=0, cache=0):
        """Charge memory to the cgroup."""
        self.anon += anon
        self.cache += cache

    @property
    def usage(self):
        return self.anon + self.cache

    def reclaim(self, size):
        """Give cache back; whether all of `size` could be."""
        freed = min(max(size, 0), self.cache)
        self.cache -= freed
        return freed >= size


def page_counter_memparse(text, unlimited):
    """What the kernel makes of a size: rounded down to pages, at most the counter's largest."""
    if text == unlimited:
        return COUNTER_MAX
    if not (text.isascii() and text.isdigit()):
        raise OSError(errno.EINVAL, "Invalid argument")
    return min(int(text) % 2**64 // PAGE * PAGE, COUNTER_MAX)


def ranged(text, low, high):
    try:
        value = int(text)
    except ValueError:
        raise OSError(errno.EINVAL, "Invalid argument") from None
    if not low <= value <= high:
        raise OSError(errno.EINVAL, "Invalid argument")
    return value


class FakeV1(FakeDirectory):
    """Source: mm/page_counter.c, mm/memcontrol-v1.c (mem_cgroup_resize_max)."""

    LIMIT, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"

    def __init__(self, *, memsw=True):
        super().__init__(
            {
                self.LIMIT: COUNTER_MAX,
                self.MEMSW: COUNTER_MAX,
                "memory.soft_limit_in_bytes": COUNTER_MAX,
                "memory.swappiness": 60,
                "memory.oom_control": lambda: (
                    b"oom_kill_disable %d\nunder_oom 0\noom_kill 0\n" % self.oom_kill_disable
                ),
                "memory.usage_in_bytes": lambda: b"%d\n" % self.usage,
                "memory.max_usage_in_bytes": lambda: b"%d\n" % self.peak,
                "memory.memsw.usage_in_bytes": lambda: b"%d\n" % self.usage,
                "memory.memsw.failcnt": 0,
                "memory.kmem.usage_in_bytes": 0,
                "memory.failcnt": 0,
                "memory.stat": self._stat,
                "cgroup.procs": "",
            }
        )
        self.oom_kill_disable = 0
        self.peak = 0
        if not memsw:
            for name in [name for name in self.files if ".memsw." in name]:
                del self.files[name]

    def use(self, *, anon=0, cache=0):
        super().use(anon=anon, cache=cache)
        self.peak = max(self.peak, self.usage)

    def _stat(self):
        fields = {"cache": self.cache, "rss": self.anon, "shmem": 0, "swap": 0}
        lines = [f"{name} {value}\n" for name, value in fields.items()]
        return "".join(lines + [f"total_{line}" for line in lines]).encode()

    def _store(self, name, text):
        if name in (self.LIMIT, self.MEMSW):
            self._resize(name, page_counter_memparse(text, "-1"))
        elif name == "memory.soft_limit_in_bytes":
            self.files[name] = page_counter_memparse(text, "-1")
        elif name == "memory.swappiness":
            self.files[name] = ranged(text, 0, 200)
        elif name == "memory.oom_control":
            self.oom_kill_disable = ranged(text, 0, 1)
        else:
            raise OSError(errno.EINVAL, "Invalid argument")

    def _resize(self, name, size):
        new = {
            self.LIMIT: self.files[self.LIMIT],
            self.MEMSW: self.files.get(self.MEMSW),
            name: size,
        }
        if new[self.MEMSW] is not None and new[self.LIMIT] > new[self.MEMSW]:
            raise OSError(errno.EINVAL, "Invalid argument")
        if not self.reclaim(self.usage - size):
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.files[name] = size


class FakeV2(FakeDirectory):
    """Source: mm/memcontrol.c (memory_max_write, memory_reclaim).

    Attributes:
        killed: how often the kernel had to kill because a limit was set below what is in use.
    """

    SIZES = ("memory.max", "memory.high", "memory.low", "memory.min", "memory.swap.max")

    def __init__(self, *, swap=True):
        super().__init__(
            {
                "memory.max": "max",
                "memory.high": "max",
                "memory.low": 0,
                "memory.min": 0,
                "memory.swap.max": "max",
                "memory.oom.group": 0,
                "memory.current": lambda: b"%d\n" % self.usage,
                "memory.peak": lambda: b"%d\n" % self.peak,
                "memory.swap.current": 0,
                "memory.swap.peak": 0,
                "memory.events": self._events,
                "memory.events.local": self._events,
                "memory.stat": lambda: (
                    b"anon %d\nfile %d\nkernel 0\nshmem 0\n" % (self.anon, self.cache)
                ),
                "memory.reclaim": "",
                "cgroup.procs": "",
            }
        )
        self.killed = self.peak = 0
        if not swap:
            for name in [name for name in self.files if ".swap." in name]:
                del self.files[name]

    def use(self, *, anon=0, cache=0):
        super().use(anon=anon, cache=cache)
        self.peak = max(self.peak, self.usage)

    def _events(self):
        return b"low 0\nhigh 0\nmax 0\noom %d\noom_kill %d\noom_group_kill 0\n" % (
            self.killed,
            self.killed,
        )

    def _store(self, name, text):
        if name in self.SIZES:
            size = page_counter_memparse(text, "max")
            self.files[name] = "max" if size == COUNTER_MAX else size
            if name == "memory.max" and not self.reclaim(self.usage - size):
                self.killed += 1
                self.anon = 0
        elif name == "memory.oom.group":
            self.files[name] = ranged(text, 0, 1)
        elif name == "memory.reclaim":
            if not self.reclaim(page_counter_memparse(text, "max")):
                raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        else:
            raise OSError(errno.EINVAL, "Invalid argument")
