"""CPU time of `climits top` with 1,000 cgroups, refreshed each second.

The program itself runs in a terminal of its own (a pty that is read to the end of what it draws),
and what the kernel counts for its process is told: user and system time, all threads.  Some of the
cgroups change all the time, so that there is something to draw.

Usage: benchmarks/top.py [--count 1000] [--seconds 20] [--size 80x24] [--rounds 3] [--details]
"""

import argparse
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import termios
import time

from climits.cgroup import files
from climits.cgroup.layout import current

HOME = "climits-top-bench"
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
    """The cgroups, in every hierarchy that the sampler reads; the paths made, parents first."""
    layout = current()
    found = [layout.find(name) for name in ("memory", "cpuacct", "pids")]
    made = []
    for hierarchy in dict.fromkeys(h for h in (*found, layout.unified) if h):
        home = hierarchy.directory_path(f"/{HOME}")
        paths = [home, *(f"{home}/slice{i}" for i in range(count // 50))]
        paths += [f"{home}/slice{i % (count // 50)}/job{i}" for i in range(count)]
        if hierarchy.delegates:
            hand_down(hierarchy.mount_point)
        for path in paths:
            files.make(path)
            made.append(path)
            if hierarchy.delegates and "/job" not in path:
                hand_down(path)
    return made


def hand_down(path):
    """Give the controllers to the cgroups below (v2)."""
    directory = files.Directory(path)
    words = directory.read("cgroup.controllers").decode().split()
    for name in ("memory", "pids"):
        if name in words:
            directory.write("cgroup.subtree_control", f"+{name}")


def remove(made):
    for path in reversed(made):
        deadline = time.monotonic() + 10
        while not files.remove(path) and time.monotonic() < deadline:
            time.sleep(0.05)


def eaters(made):
    """Programs that allocate and free, each in a cgroup of its own."""
    memory = current().find("memory").directory_path(f"/{HOME}")
    homes = [path for path in made if path.startswith(memory) and "/job" in path][:BUSY]
    out = []
    for home in homes:
        process = subprocess.Popen([sys.executable, "-c", EATER])
        files.Directory(home).write("cgroup.procs", str(process.pid))
        out.append(process)
    return out


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
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


def measure(climits, words, size, seconds, keys):
    """(CPU per second of wall time, bytes drawn a second, RSS in KiB) of one run."""
    columns, rows = size
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(climits, [climits, "top", *words])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        drain(fd, 5)  # start, and open everything
        os.write(fd, keys.encode())
        drain(fd, 2)
        before, start = cpu_seconds(pid), time.monotonic()
        drawn = drain(fd, seconds)
        used, elapsed = cpu_seconds(pid) - before, time.monotonic() - start
        with open(f"/proc/{pid}/status") as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        os.write(fd, b"q")
        drain(fd, 1)
        return used / elapsed, drawn / elapsed, rss
    finally:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(pid, 0)
        os.close(fd)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", default="80x24")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--details", action="store_true", help="of the first cgroup, open too")
    parser.add_argument("words", nargs="*", help="options of climits top")
    options = parser.parse_args()
    size = tuple(map(int, options.size.split("x")))
    climits = os.path.join(os.path.dirname(sys.executable), "climits")
    keys = "\r" if options.details else ""
    made, programs = [], []
    try:
        made = make(options.count)
        programs = eaters(made)
        runs = []
        for _ in range(options.rounds):
            runs.append(measure(climits, options.words, size, options.seconds, keys))
            share, drawn, rss = runs[-1]
            print(f"  {share:5.1%} of a core, {drawn:6.0f} bytes drawn a second, {rss} KiB of RSS")
        share = statistics.median(run[0] for run in runs)
        print(f"{options.count} cgroups at {options.size}, each second: {share:.1%} of one core")
    finally:
        for process in programs:
            process.kill()
            process.wait()
        remove(made)


if __name__ == "__main__":
    main()
