"""CPU time of `climits top` with 1,000 cgroups, refreshed each second.

The program itself runs in a terminal of its own (a pty that is read to the end of what it draws),
and what the kernel counts for its process is told: user and system time, all threads.  Some of the
cgroups change all the time, so that there is something to draw.
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import common
import peers

from climits.cgroup import files
from climits.cgroup.layout import current

TARGET = 25.0  # % of a core
TICKS = os.sysconf("SC_CLK_TCK")
#: Of which one allocates and frees all the time.
BUSY = 4
EATER = """
import time
while True:
    data = [bytes(1 << 20) for _ in range(24)]
    time.sleep(0.3)
    del data
    time.sleep(0.3)
"""


def make(count):
    """Make the cgroups in every hierarchy that the sampler reads; those of memory."""
    layout = current()
    memory = layout.find("memory")
    found = [memory, layout.find("cpuacct"), layout.find("pids"), layout.unified]
    slices, jobs = max(count // 50, 1), []
    for hierarchy in dict.fromkeys(h for h in found if h):
        home = hierarchy.directory_path(f"/{common.own_name()}")
        parents = [home, *(f"{home}/slice{n}" for n in range(slices))]
        if hierarchy.delegates:
            hand_down(hierarchy.mount_point)
        for path in parents:
            files.make(path)
            if hierarchy.delegates:
                hand_down(path)
        made = [f"{home}/slice{n % slices}/job{n}" for n in range(count)]
        for path in made:
            files.make(path)
        if hierarchy is memory:
            jobs = made
    return jobs


def hand_down(path):
    """Give the controllers to the cgroups below (v2)."""
    directory = files.Directory(path)
    words = directory.read("cgroup.controllers").decode().split()
    for name in ("memory", "pids"):
        if name in words:
            directory.write("cgroup.subtree_control", f"+{name}")


def start_eaters(homes):
    """Programs that allocate and free, each in a cgroup of its own; their Popen objects."""
    eaters = []
    for home in homes:
        eaters.append(subprocess.Popen([sys.executable, "-c", EATER]))
        files.Directory(home).write("cgroup.procs", str(eaters[-1].pid))
    return eaters


def cpu_seconds(pid):
    fields = common.read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def drain(fd, seconds):
    """Read what is drawn for so long; bytes."""
    total, deadline = 0, time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            try:
                total += len(os.read(fd, 1 << 16))
            except OSError:  # the program has ended
                break
    return total


def watched(size, seconds, keys):
    """(% of a core, bytes drawn a second, RSS in MiB) of one run."""
    columns, rows = size
    pid, fd = pty.fork()
    if pid == 0:
        environment = {**common.environment(), "TERM": "xterm-256color"}
        os.execve(peers.CLIMITS, [peers.CLIMITS, "top"], environment)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        drain(fd, 5)  # start, and open everything
        os.write(fd, keys.encode())
        drain(fd, 2)
        before, start = cpu_seconds(pid), time.monotonic()
        drawn = drain(fd, seconds)
        used, elapsed = cpu_seconds(pid) - before, time.monotonic() - start
        status = common.read_file(f"/proc/{pid}/status")
        rss = next(int(x.split()[1]) for x in status.splitlines() if x.startswith(b"VmRSS"))
        os.write(fd, b"q")
        drain(fd, 1)
        return 100 * used / elapsed, drawn / elapsed, rss / 1024
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)
        os.close(fd)


def measure(options):
    common.scratch()
    report = common.Report(f"top: CPU time with {options.cgroups:,} cgroups", options)
    size = tuple(map(int, options.size.split("x")))
    eaters = start_eaters(make(options.cgroups)[:BUSY])
    try:
        runs = [
            watched(size, options.seconds, "\r" if options.details else "")
            for _ in range(options.rounds)
        ]
    finally:
        for process in eaters:
            process.kill()
            process.wait()
    lines = []
    for name, column, limit in (
        ("CPU time (% of a core)", 0, TARGET), ("drawn (bytes a second)", 1, None),
        ("RSS (MiB)", 2, None),
    ):  # fmt: skip
        values = [run[column] for run in runs]
        middle = common.median(values)
        cells = [
            name,
            common.number(middle),
            "-".join(map(common.number, (min(values), max(values)))),
        ]
        if limit is None:
            lines.append([*cells, "", ""])
        else:
            holds = report.target("CPU time of climits top", middle, "% of a core", at_most=limit)
            lines.append([*cells, f"<= {limit:g}", holds])
    report.add(
        f"{options.size}, each second, {BUSY} cgroups busy; {options.seconds:g} s of each run"
    )
    report.add(common.Table(["what", "median of runs", "least-most", "target", "holds"], lines))
    report.end()


if __name__ == "__main__":
    parser = common.arguments(__doc__.partition("\n")[0], rounds=3, isolated=1, quick=(1, 1))
    parser.add_argument("--cgroups", type=int, metavar="N", default=1000, help="(%(default)d)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (%(default)g)")
    parser.add_argument("--size", default="80x24", help="of the terminal (%(default)s)")
    parser.add_argument("--details", action="store_true", help="of the first cgroup, open too")
    common.main(parser, measure)
