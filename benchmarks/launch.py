"""What one launch costs a Python program, over a bare posix_spawn and wait.

The cycle is a whole one: make the cgroup, limit it, start the program inside, wait, read the peak,
the OOM count and the rest of the evidence, remove the cgroup.  From a small parent, from ones that
hold 1 and 4 GiB, and from one with threads.  Beside it the same system calls by floor.c: what
the kernel takes of it, below which no launcher can go that makes the same cgroup and reads the
same evidence.
"""

import ctypes
import importlib
import mmap
import os
import shutil
import subprocess
import threading
import time

import common

import climits
import climits.cgroup.group
from climits.records import MemoryLimits

TARGET = 1.4
MEMORY = "64M"
_LIMIT = str(64 << 20).encode()
_TRUE = "/bin/true"
_GIB = 1 << 30
_REFERENCE = "os.posix_spawn, waitpid: no limit"


# ---- the ways to launch ------------------------------------------------------------------------


def must(ok, what):
    """Stop a benchmark whose subject does not do its job."""
    if not ok:
        raise RuntimeError(f"what was measured means nothing: {what}")


def bare():
    pid = os.posix_spawn(_TRUE, [_TRUE], os.environ)
    _, status = os.waitpid(pid, 0)
    must(status == 0, status)


def climits_run():
    result = climits.run([_TRUE], memory=MEMORY)
    must(result.returncode == 0 and result.memory_peak is not None, result)


def step_by_step():
    with climits.Cgroup.create(f"{common.own_name()}-step", memory=MEMORY) as group:
        process = climits.Process([_TRUE], root=group.path)
        must(process.wait() == 0 and process.result.memory_peak != 0, process.result)


def subprocess_run():
    subprocess.run([_TRUE], check=True)


class ByHand:
    """The same cycle in straight-line Python, with somebody else's way to start inside."""

    def __init__(self):
        point, self.version = common.memory_hierarchy()
        self.parent = f"{point}/{common.own_name()}"
        os.mkdir(self.parent)
        if self.version == 2:
            for directory in (point, self.parent):
                common.write_file(f"{directory}/cgroup.subtree_control", b"+memory")
            self.files = "memory.max", "memory.peak", "memory.events"
        else:
            self.files = (
                "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control",
            )  # fmt: skip
        self.count = 0

    def cycle(self, start):
        self.count += 1
        directory = f"{self.parent}/{self.count}"
        limit, peak, events = self.files
        os.mkdir(directory)
        common.write_file(f"{directory}/{limit}", _LIMIT)
        start(directory)
        try:
            used = int(common.read_file(f"{directory}/{peak}"))
        except FileNotFoundError:  # v2 before 5.19
            used = None
        must(used != 0 and b"oom_kill" in common.read_file(f"{directory}/{events}"), used)
        os.rmdir(directory)

    def preexec(self):
        def start(directory):
            def join():
                common.write_file(f"{directory}/cgroup.procs", str(os.getpid()).encode())

            subprocess.run([_TRUE], check=True, preexec_fn=join)

        self.cycle(start)

    def shell(self):
        def start(directory):
            script = f"echo 0 > {directory}/tasks && exec {_TRUE}"
            pid = os.posix_spawn("/bin/sh", ["/bin/sh", "-c", script], os.environ)
            _, status = os.waitpid(pid, 0)
            must(status == 0, status)

        self.cycle(start)


class Part(ctypes.Structure):
    _fields_ = (
        ("path", ctypes.c_char_p),
        ("born_inside", ctypes.c_int),
        ("limits", ctypes.POINTER(ctypes.c_char_p)),
        ("reports", ctypes.POINTER(ctypes.c_char_p)),
    )


def strings(texts):
    """A list of C strings that ends with NULL."""
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)


class InC:
    """The system calls of climits.run, made by floor.c; `reason` says why it cannot run here."""

    def __init__(self):
        self.cycle = None
        self.reason = self._prepare()

    def _prepare(self):
        with climits.Cgroup.create(f"{common.own_name()}-floor", memory=MEMORY) as group:
            if not group.tracker.hierarchy.born_inside:
                return "needs a v2 hierarchy, beside the others at least"
            parts = [self._part(group, part) for part in group.parts]
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return "a C compiler is needed to build floor.c"
        library = f"{common.scratch()}/floor.so"
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "floor.c")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source], check=True)
        call = ctypes.CDLL(library, use_errno=True).cycle
        arguments = len(parts), (Part * len(parts))(*parts), strings([_TRUE.encode()])
        environment = strings([b"%s=%s" % pair for pair in os.environb.items()])

        def cycle():
            line = call(*arguments, environment)
            must(line == 0, f"floor.c:{line}: {os.strerror(ctypes.get_errno())}")

        self.cycle = cycle
        return None

    def _part(self, group, part):
        """The same as climits does to a part: which files it writes and reads is asked of it."""
        files = []
        limits = []
        if part is group.part("memory"):
            for file, text, _ in group.memory.writes(MemoryLimits(max=64 << 20, swap_max=0),
                                                     group.memory.UNTOUCHED):  # fmt: skip
                limits += [file.encode(), text.encode()]
            files += importlib.import_module(type(group.memory).__module__)._REPORT
        if part is group.tracker:
            files += climits.cgroup.group._TRACKED
        there = [name.encode() for name in files if part.directory.has(name)]
        return Part(os.fsencode(f"{part.directory.path}-c"), part.hierarchy.born_inside,
                    strings(limits), strings(there))  # fmt: skip


# ---- the parents -------------------------------------------------------------------------------


class Holding:
    """A parent that has touched so much memory, in pages of 4 KiB."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.map = mmap.mmap(-1, self.size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.map.madvise(mmap.MADV_NOHUGEPAGE)
        for at in range(0, self.size, mmap.PAGESIZE):
            self.map[at] = 1

    def __exit__(self, *_):
        self.map.close()


class Threads:
    """A parent with 7 more threads: 6 wait for a lock, 1 wakes up every 10 ms."""

    def __enter__(self):
        self.lock = threading.Lock()
        self.lock.acquire()
        self.end = False
        self.threads = [threading.Thread(target=self.wait) for _ in range(6)]
        self.threads.append(threading.Thread(target=self.tick))
        for thread in self.threads:
            thread.start()

    def wait(self):
        with self.lock:
            pass

    def tick(self):
        while not self.end:
            time.sleep(0.01)

    def __exit__(self, *_):
        self.end = True
        self.lock.release()
        for thread in self.threads:
            thread.join()


def available():
    """Memory that can be had without swapping, bytes."""
    with open("/proc/meminfo", "rb") as file:
        for line in file:
            if line.startswith(b"MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


# ---- measuring ---------------------------------------------------------------------------------


def compare(report, options, hand, floor, *, with_preexec):
    rows = [
        common.Row(_REFERENCE, bare),
        common.Row("climits.run: the whole cycle", climits_run, at_most=TARGET),
        common.Row("its system calls alone, in C", floor.cycle, reason=floor.reason),
        common.Row("Cgroup.create, Process(root=), remove", step_by_step),
        common.Row("subprocess.run: no limit", subprocess_run),
    ]
    shell = "by hand: sh -c 'echo 0 > tasks && exec'"
    if hand.version == 1:
        rows.append(common.Row(shell, hand.shell))
    else:
        rows.append(common.Row(shell, None, reason="cgroup v1 only"))
    unit = {"scale": 1e6, "unit": "us"}
    headings, lines, reasons = common.compare(report, rows, _REFERENCE, options, **unit)
    if with_preexec:
        # Apart from the others, which would pay for it: after a fork each page of the parent is
        # copied when it is next written to, and the kernel's lock stays slow for a while.
        name = "by hand: preexec_fn writes to cgroup.procs"
        pair = [common.Row(_REFERENCE, bare), common.Row(name, hand.preexec)]
        lines += common.compare(report, pair, _REFERENCE, options, shown=(name,), **unit)[1]
    report.add(common.Table(headings, lines, reasons))


def measure(options):
    report = common.Report("launch: a cycle of the library over a bare posix_spawn", options)
    hand, floor = ByHand(), InC()
    report.heading("from a small parent")
    compare(report, options, hand, floor, with_preexec=True)
    for gib in (1, 4):
        report.heading(f"from a parent that has touched {gib} GiB")
        if available() < (gib + 1) * _GIB:
            report.add(f"not run: only {available() / _GIB:.1f} GiB are available")
            continue
        with Holding(gib * _GIB):
            compare(report, options, hand, floor, with_preexec=gib == 1)
    report.heading("from a parent with 8 threads: 6 wait for a lock, 1 wakes every 10 ms")
    with Threads():
        compare(report, options, hand, floor, with_preexec=False)
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=1000, isolated=150)
    common.main(parser, measure)
