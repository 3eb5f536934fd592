"""Supervisors side by side: how each is told to keep the same programs alive, and how it is ended.

Where a peer has options, it gets the ones that make it do the least: no log, restart at once.
"""

import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time

import common
import memory
import peers

PATIENCE = 120.0  # seconds, for what should take a few
CLIMITS = "climits supervise"
_LIMIT = 30 << 20
_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl


def die_with_us():
    """As the last step before exec: else it would start its programs again while they are ended."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


class Running:
    """A supervisor that runs; as a context manager it is ended.

    Attributes:
        top: its Popen.
    """

    def __init__(self, argv):
        self._log = f"{argv[-1]}.log"  # beside its configuration
        with open(os.devnull, "r+b") as null, open(self._log, "wb") as log:
            self.top = subprocess.Popen(
                argv, stdin=null, stdout=null, stderr=log, cwd="/", env=common.environment(),
                preexec_fn=die_with_us,
            )  # fmt: skip

    def own(self, programs=(b"sleep", b"leaky")):
        """Pids of the supervisor's own processes."""
        below = common.descendants(self.top.pid)
        return [self.top.pid, *(pid for pid in below if memory.name_of(pid) not in programs)]

    def said(self):
        """The last line that it wrote to standard error, behind a colon; may be empty."""
        with open(self._log, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        return f": {lines[-1]}" if lines else ""

    def check(self):
        if self.top.poll() is not None:
            raise peers.NotHere(f"it ended with {self.top.returncode}{self.said()}")

    def wait_for(self, count):
        """Wait until so many `sleep` programs run; seconds it took."""
        begin = time.monotonic()
        while True:
            self.check()
            below = common.descendants(self.top.pid)
            if sum(memory.name_of(pid) == b"sleep" for pid in below) >= count:
                return time.monotonic() - begin
            if time.monotonic() - begin > PATIENCE:
                raise peers.NotHere(f"it had not started {count} programs in {PATIENCE:g} s")
            time.sleep(0.1)

    def ask_to_end(self):
        if self.top.poll() is None:
            self.top.terminate()

    def close(self):
        """End it, which ends its programs."""
        self.ask_to_end()
        try:
            self.top.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.top.kill()
            self.top.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def in_scratch(name):
    return f"{tempfile.gettempdir()}/{common.own_name()}/{name}"


def write(name, text):
    path = in_scratch(name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def climits(name, command, count=1, extra=""):
    """Command line of `climits supervise` for some programs."""
    lines = [f"[defaults]\nmemory = {_LIMIT}\n{extra}"]
    words = ", ".join(f'"{word}"' for word in command)
    for n in range(count):
        lines.append(f"[program.{common.own_name()}-{name}-{n}]\ncommand = [{words}]\n")
    path = write(f"{name}.toml", "\n".join(lines))
    return [peers.CLIMITS, "supervise", "--socket", in_scratch(f"{name}.socket"), "-c", path]


def supervisord(name, command, count=1):
    """Command line of supervisord: no log, no socket, a program may end at once."""
    path = write(
        f"{name}.conf",
        f"""\
[supervisord]
nodaemon = true
user = root
logfile = /dev/null
logfile_maxbytes = 0
pidfile = {in_scratch(name)}.pid
[program:{name}]
command = {" ".join(command)}
process_name = %(program_name)s-%(process_num)d
numprocs = {count}
autorestart = true
startsecs = 0
stdout_logfile = NONE
stderr_logfile = NONE
""",
    )
    return [peer("supervisord"), "-n", "-c", path]


def circusd(name, command, count=1, *, check_delay):
    """Command line of circusd, which looks at its programs every `check_delay` seconds."""
    path = write(
        f"{name}.ini",
        f"""\
[circus]
check_delay = {check_delay:g}
endpoint = ipc://{in_scratch(name)}.endpoint
pubsub_endpoint = ipc://{in_scratch(name)}.pubsub
[watcher:{name}]
cmd = {" ".join(command)}
numprocesses = {count}
respawn = true
warmup_delay = 0
""",
    )
    return [peer("circusd"), path]


def peer(command):
    path = os.path.join(peers.VENV, "bin", command)
    if not os.path.exists(path):
        raise peers.NotHere(f"{command} is not installed (benchmarks/peers.sh)")
    return path


# name: a function of (name for files, command, count) that gives the command line.
SUBJECTS = {
    CLIMITS: climits,
    "supervisord": supervisord,
    "circusd": lambda *a: circusd(*a, check_delay=5),  # as it does by itself
    "circusd, check_delay 0.1": lambda *a: circusd(*a, check_delay=0.1),
}
#: Looks fifty times as often as circus does by itself, and pays for it when idle: no target.
WITHOUT_TARGET = "circusd, check_delay 0.1"


def file_name(subject):
    return re.sub("[^a-z0-9]+", "-", subject)


class ByHand:
    """The least that anybody can do: a process that waits for the program and starts it anew."""

    def __init__(self, command):
        self._pid = os.fork()
        if self._pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            die_with_us()
            try:
                while True:
                    os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)
            finally:
                os._exit(1)

    def check(self):
        pass

    def close(self):
        below = common.descendants(self._pid)
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)
        for pid in below:  # orphans of ours now
            os.kill(pid, signal.SIGTERM)


def cgroup_by_hand(name):
    """A cgroup with the limit; the path of the file by which a process joins it."""
    point, version = common.memory_hierarchy()
    top = f"{point}/{common.own_name()}-hand"
    if not os.path.isdir(top):
        os.mkdir(top)
        if version == 2:
            for directory in (point, top):
                common.write_file(f"{directory}/cgroup.subtree_control", b"+memory")
    directory = f"{top}/{name}"
    os.mkdir(directory)
    limit = str(_LIMIT).encode()
    limits = [("memory.max", limit), ("memory.swap.max", b"0")]
    if version == 1:
        limits = [("memory.limit_in_bytes", limit), ("memory.memsw.limit_in_bytes", limit)]
    for file, value in limits:
        try:
            common.write_file(f"{directory}/{file}", value)
        except FileNotFoundError:  # of a kernel that does not account for swap
            pass
    return f"{directory}/{'tasks' if version == 1 else 'cgroup.procs'}"
