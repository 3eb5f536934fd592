"""Peers that run one program: how each is told to, and what is tried with each of them.

What is tried is the same for all, with a program (tests/programs/hog.c) whose memory and end are
ours to choose.  Each trial returns an answer, "yes", "no", "by hand" (it can be had, with commands
of one's own) or "partly", and what was seen.
"""

# ruff: noqa: ARG002  (an interface, of which no peer needs all)

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import common
import peers
import supervisors

MIB = 1 << 20
LIMIT = 64 * MIB
_PATIENCE = 60.0  # seconds; the test machine is slow
_HOG = os.path.join(peers.HERE, "../tests/programs/hog.c")


class Outcome:
    """How a command ended: `status` of it, and the `text` that it told, the program's own too."""

    def __init__(self, status, text):
        self.status, self.text = status, text

    def __str__(self):
        """In a line: the status, and what was told in its own words."""
        words = " ".join(self.text.split())
        return f"exit status {self.status}" + (f"; {words[:230]}" if words else "")


def finish(argv, patience=_PATIENCE):
    """Run a command to its end."""
    done = subprocess.run(
        argv, env=common.environment(), cwd="/", text=True, errors="replace", check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=patience,
    )  # fmt: skip
    return Outcome(done.returncode, done.stdout)


def build_hog():
    path = supervisors.in_scratch("hog")
    peers.try_out([["cc", "-O1", "-static", "-o", path, _HOG]])
    return path


# ---- the peers ---------------------------------------------------------------------------------


class Peer:
    """One of them.

    Attributes:
        name: for the table.
        hog: path of the program, where the peer sees it.
    """

    name = ""
    by_hand = False  # the numbers are there, but to be read by commands of one's own
    bounded = True  # is it asked to bound swap too?  Else a leak goes there.
    limits = True
    shows = True  # what the program prints

    def __init__(self, hog):
        self.hog = hog

    def version(self):
        raise NotImplementedError

    def command(self, name, *words):
        """The command line that runs hog with these words under LIMIT."""
        raise NotImplementedError

    def run(self, name, *words):
        """Outcome of such a run; what the peer tells afterwards belongs to it."""
        return self.after(name, finish(self.command(name, *words), 4 * _PATIENCE))

    def after(self, name, outcome):
        """With what the peer tells afterwards."""
        return outcome

    def told_memory(self, outcome):
        """Does it say that memory ran out?"""
        return bool(re.search(r"\boom|out.of.memory|OOMKilled.:true", outcome.text, re.IGNORECASE))

    def peak(self, outcome):
        """The highest usage that it tells, bytes; None: it tells none."""

    def status(self, outcome):
        """The program's own exit status."""
        return outcome.status

    def change(self, name):
        """The command that sets the limit of a running one to 96 MiB; None: there is none."""

    def pause(self, name):
        """The commands that stop and resume it; None: there are none."""

    def cage(self, name, *words):
        """The command that runs hog in namespaces; None: there is none."""

    def restarts(self, name):
        """How often it has started a program again that is OOM-killed; None: it never does."""

    def next_start(self):
        """What it does when it is started the next time, which may clean up."""

    def clean(self, name):
        """Remove what a run may have left."""


class Climits(Peer):
    name = "climits"

    def version(self):
        return finish([peers.CLIMITS, "--version"]).text.split()[-1]

    def command(self, name, *words):
        return [peers.CLIMITS, "run", "--memory", "64M", "--no-history", "--name", name, "--",
                self.hog, *words]  # fmt: skip

    def told_memory(self, outcome):
        return "oom-killed" in outcome.text or "OOM" in outcome.text

    def peak(self, outcome):
        return in_bytes(re.search(r"peak ([\d.]+)([KMG])", outcome.text))

    def next_start(self):
        finish([peers.CLIMITS, "run", "--no-history", "--quiet", "--", "/bin/true"])

    def change(self, name):
        return [peers.CLIMITS, "set", name, "memory.max=96M"]

    def pause(self, name):
        return [peers.CLIMITS, "freeze", name], [peers.CLIMITS, "thaw", name]

    def cage(self, name, *words):
        root = supervisors.in_scratch(f"root-{name}")
        return [peers.CLIMITS, "container", "--memory", "64M", "--no-history", "--no-init",
                "--rootfs", root_with(self.hog, root), "--", "/hog", *words]  # fmt: skip


class SystemdRun(Peer):
    name = "systemd-run --wait"
    _manager = ("--user",) if os.geteuid() else ()
    _how = ("--wait", "--pipe")

    def version(self):
        if not os.path.isdir("/run/systemd/system"):
            raise peers.NotHere("systemd is not process 1 here")
        return finish(["systemctl", "--version"]).text.splitlines()[0].split("(")[1].rstrip(")")

    def command(self, name, *words):
        swap = ["-p", "MemorySwapMax=0"] if self.bounded else []
        return ["systemd-run", *self._manager, *self._how, "-p", "MemoryMax=64M", *swap, "--unit",
                name, "--", self.hog, *words]  # fmt: skip

    def peak(self, outcome):
        return in_bytes(re.search(r"[Mm]emory peak: ([\d.]+)([KMG])", outcome.text))

    def _unit(self, name):
        return f"{name}.service"

    def restarts(self, name):
        unit = self._unit(name)
        settings = ("MemoryMax=64M", "MemorySwapMax=0", "Restart=always")
        words = [word for setting in settings for word in ("-p", setting)]
        finish(["systemd-run", *self._manager, *words, "--unit", name, "--", self.hog, "alloc",
                "200"])  # fmt: skip

        def count():
            words = ["systemctl", *self._manager, "show", "-P", "NRestarts", unit]
            return int(finish(words).text or 0)

        wait_until(count, 30)
        return count()

    def change(self, name):
        return ["systemctl", *self._manager, "set-property", "--runtime", self._unit(name),
                "MemoryMax=96M"]  # fmt: skip

    def pause(self, name):
        return tuple(["systemctl", *self._manager, verb, self._unit(name)]
                     for verb in ("freeze", "thaw"))  # fmt: skip

    def clean(self, name):
        for verb in ("stop", "reset-failed"):
            finish(["systemctl", *self._manager, verb, self._unit(name)])


class SystemdScope(SystemdRun):
    name = "systemd-run --scope"
    _how = ("--scope",)

    def _unit(self, name):
        return f"{name}.scope"

    def restarts(self, name):
        """A scope is of processes that somebody else has started."""


class CgroupTools(Peer):
    name = "cgroup-tools"
    by_hand = True

    def version(self):
        peers.need("cgexec")
        return finish(["dpkg-query", "-W", "-f", "${Version}", "cgroup-tools"]).text

    def _files(self):
        if common.memory_hierarchy()[1] == 2:
            return "memory.max", "memory.peak", "memory.events"
        return "memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"

    def _controllers(self):
        return "memory" if common.memory_hierarchy()[1] == 2 else "memory,freezer"

    def command(self, name, *words):
        limit, peak, events = self._files()
        group = f"{self._controllers()}:{name}"
        memsw = f"memory.memsw.{limit[7:]}={LIMIT}"
        swap = "memory.swap.max=0" if limit == "memory.max" else memsw
        script = (
            f"cgcreate -g {group} && cgset -r {limit}={LIMIT} {name} && "
            f"{f'cgset -r {swap} {name} && ' if self.bounded else ''}"
            f"cgexec -g {group} {' '.join((self.hog, *words))}; status=$?; "
            f"echo peak $(cgget -n -v -r {peak} {name}); cgget -n -v -r {events} {name}; "
            f"cgdelete -g {group}; exit $status"
        )
        return ["/bin/sh", "-c", script]

    def told_memory(self, outcome):
        return bool(re.search(r"oom_kill [1-9]", outcome.text))

    def peak(self, outcome):
        found = re.search(r"peak (\d+)", outcome.text)
        return int(found[1]) if found else None

    def change(self, name):
        limit = self._files()[0]
        memsw = ["-r", f"memory.memsw.{limit[7:]}={96 * MIB}"] if limit != "memory.max" else []
        return ["cgset", *memsw, "-r", f"{limit}={96 * MIB}", name]

    def pause(self, name):
        state = ("freezer.state=FROZEN", "freezer.state=THAWED")
        if common.memory_hierarchy()[1] == 2:
            state = ("cgroup.freeze=1", "cgroup.freeze=0")
        return tuple(["cgset", "-r", setting, name] for setting in state)

    def clean(self, name):
        finish(["cgdelete", "-g", f"{self._controllers()}:{name}"])


class Runexec(Peer):
    name = "runexec"
    shows = False  # to a file, and not where one is a terminal

    def version(self):
        return finish([peers.runexec("x")[0], "--version"]).text.split()[-1]

    def command(self, name, *words):
        return [*self._delegated(), *peers.runexec(self.hog, *words)]

    def _delegated(self):
        """On cgroup v2 its documentation has it run in a scope that is delegated to it."""
        if common.memory_hierarchy()[1] == 1 or not os.path.isdir("/run/systemd/system"):
            return []
        user = ["--user"] if os.geteuid() else []
        return ["systemd-run", "--quiet", *user, "--scope", "-p", "Delegate=yes"]

    def told_memory(self, outcome):
        return "terminationreason=memory" in outcome.text

    def peak(self, outcome):
        found = re.search(r"^memory=(\d+)B", outcome.text, re.MULTILINE)
        return int(found[1]) if found else None

    def status(self, outcome):
        found = re.search(r"^returnvalue=(\d+)", outcome.text, re.MULTILINE)
        return int(found[1]) if found else None

    def after(self, name, outcome):
        # It exits 0 even where it could start nothing, and makes no cgroup where it cannot.
        if "walltime=" not in outcome.text:
            raise peers.NotHere(str(outcome))
        return outcome

    def cage(self, name, *words):
        out = supervisors.in_scratch(f"{name}.out")
        argv = peers.runexec(self.hog, *words, container=True)
        argv[argv.index("/dev/null")] = out
        argv[1:1] = ["--read-only-dir", os.path.dirname(self.hog)]  # it has a /tmp of its own
        return ["/bin/sh", "-c", f"{' '.join(argv)} >/dev/null 2>&1; cat {out}"]


class Runc(Peer):
    name = "runc"

    def __init__(self, hog):
        super().__init__(hog)
        self._state = supervisors.in_scratch("runc-state")

    def version(self):
        return finish([peers.need("runc"), "--version"]).text.split()[2]

    def command(self, name, *words):
        bundle = supervisors.in_scratch(f"bundle-{name}")
        os.makedirs(bundle, exist_ok=True)
        root_with(self.hog, f"{bundle}/rootfs")
        if not os.path.exists(f"{bundle}/config.json"):
            rootless = ["--rootless"] if os.geteuid() else []
            peers.try_out([["runc", "spec", *rootless, "--bundle", bundle]])
        path = f"{bundle}/config.json"
        with open(path, encoding="utf-8") as file:
            config = json.load(file)
        config["process"].update(terminal=False, args=["/hog", *words])
        config["root"]["readonly"] = False
        swap = {"swap": LIMIT} if self.bounded else {}
        config["linux"].setdefault("resources", {})["memory"] = {"limit": LIMIT, **swap}
        # An ordinary user has to ask systemd, as docs/cgroup-v2.md of runc says.
        user = os.geteuid() != 0
        config["linux"]["cgroupsPath"] = f"user.slice:runc:{name}" if user else f"/{name}"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        systemd = ["--systemd-cgroup"] if user else []
        return ["runc", "--root", self._state, *systemd, "run", "--bundle", bundle, name]

    def change(self, name):
        return ["runc", "--root", self._state, "update", "--memory", "96M", "--memory-swap",
                "96M", name]  # fmt: skip

    def pause(self, name):
        return tuple(["runc", "--root", self._state, verb, name] for verb in ("pause", "resume"))

    def cage(self, name, *words):
        return self.command(name, *words)

    def clean(self, name):
        finish(["runc", "--root", self._state, "delete", "--force", name])


class Docker(Peer):
    """With a daemon of its own: without a network, and with its files in a scratch directory."""

    name = "docker"

    def __init__(self, hog):
        super().__init__(hog)
        self._home = supervisors.in_scratch("docker")
        self._host = f"unix://{self._home}/socket"
        self._daemon = None
        every = (f"{point}/docker" for point, _, _ in common.mounts())
        self._before = {path for path in every if os.path.isdir(path)}

    def version(self):
        peers.need("dockerd")
        peers.need("docker")
        os.makedirs(self._home, exist_ok=True)
        with open(f"{self._home}/log", "wb") as log:
            self._daemon = subprocess.Popen(
                ["dockerd", "--host", self._host, "--data-root", f"{self._home}/data",
                 "--exec-root", f"{self._home}/run", "--pidfile", f"{self._home}/pid",
                 "--storage-driver", "vfs", "--bridge", "none", "--iptables=false",
                 "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=common.environment(),
                preexec_fn=supervisors.die_with_us,
            )  # fmt: skip
        deadline = time.monotonic() + 4 * _PATIENCE
        while (found := self._docker("version", "-f", "{{.Server.Version}}")).status:
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                with open(f"{self._home}/log", encoding="utf-8", errors="replace") as file:
                    raise peers.NotHere(f"dockerd: {(file.read().splitlines() or [''])[-1][:200]}")
            time.sleep(0.5)
        root = root_with(self.hog, supervisors.in_scratch("docker-root"))
        made = finish(
            ["/bin/sh", "-c", f"tar -C {root} -c . | docker -H {self._host} import - hog"]
        )
        if made.status:
            raise peers.NotHere(str(made))
        return found.text.strip()

    def _docker(self, *words):
        return finish(["docker", "-H", self._host, *words], 4 * _PATIENCE)

    def command(self, name, *words):
        return ["docker", "-H", self._host, "run", "--name", name, "--network", "none", "--memory",
                "64M", *(["--memory-swap", "64M"] if self.bounded else []), "hog", "/hog",
                *words]  # fmt: skip

    def after(self, name, outcome):
        state = self._docker(
            "inspect", "-f", "OOMKilled:{{.State.OOMKilled}} ExitCode:{{.State.ExitCode}}", name
        )
        return Outcome(outcome.status, f"{outcome.text} docker inspect: {state.text}")

    def told_memory(self, outcome):
        return "OOMKilled:true" in outcome.text

    def change(self, name):
        return ["docker", "-H", self._host, "update", "--memory", "96M", "--memory-swap", "192M",
                name]  # fmt: skip

    def pause(self, name):
        return tuple(["docker", "-H", self._host, verb, name] for verb in ("pause", "unpause"))

    def cage(self, name, *words):
        return self.command(name, *words)

    def clean(self, name):
        self._docker("rm", "--force", name)

    def restarts(self, name):
        self._docker("run", "--detach", "--name", name, "--network", "none", "--memory", "64M",
                     "--restart", "on-failure", "hog", "/hog", "alloc", "200")  # fmt: skip

        def count():
            return int(self._docker("inspect", "-f", "{{.RestartCount}}", name).text)

        wait_until(count, 30)
        return count()

    def close(self):
        if self._daemon is not None and self._daemon.poll() is None:
            self._daemon.terminate()
            self._daemon.wait(_PATIENCE)
        for point, _, _ in common.mounts():  # empty by now, and it leaves them
            if f"{point}/docker" not in self._before:
                _remove(f"{point}/docker")


class Bwrap(Peer):
    name = "bubblewrap"
    limits = False

    def version(self):
        return finish([peers.need("bwrap"), "--version"]).text.split()[-1]

    def command(self, name, *words):
        return [*peers.bwrap(), "--die-with-parent", self.hog, *words]

    def cage(self, name, *words):
        return [*peers.bwrap()[:1], "--unshare-all", *peers.bwrap()[1:], self.hog, *words]


def root_with(hog, root):
    """A root file system with nothing but the program."""
    os.makedirs(f"{root}/tmp", exist_ok=True)
    for directory in ("proc", "dev", "sys"):
        os.makedirs(f"{root}/{directory}", exist_ok=True)
    shutil.copy(hog, f"{root}/hog")
    return root


def in_bytes(match):
    factor = {"K": 1 << 10, "M": MIB, "G": 1 << 30}
    return round(float(match[1]) * factor[match[2]]) if match else None


EVERY = (Climits, SystemdRun, SystemdScope, CgroupTools, Runexec, Runc, Docker, Bwrap)


# ---- a program that runs -----------------------------------------------------------------------


class Running:
    """A hog that sleeps under a peer.

    Attributes:
        pid: of the hog.
        cgroup: directory of its memory cgroup.
    """

    _count = 0

    def __init__(self, peer, name, *words, tell=False):
        Running._count += 1
        self._peer, self._name = peer, name
        # So long that it is found by it, and no two are mistaken for each other.
        tag = str(7_000_000 + os.getpid() % 1000 * 100 + Running._count)
        self.tool = subprocess.Popen(
            peer.command(name, *words, "hold", tag), env=common.environment(), cwd="/",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE if tell else subprocess.DEVNULL,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        deadline = time.monotonic() + 4 * _PATIENCE
        while (pid := _find(tag.encode())) is None:
            if self.tool.poll() is not None or time.monotonic() > deadline:
                raise peers.NotHere("the program did not start")
            time.sleep(0.05)
        self.pid, self.cgroup = pid, memory_cgroup(pid)

    def read(self, *names):
        """The first of these files that is there, as text."""
        for name in names:
            try:
                return common.read_file(f"{self.cgroup}/{name}").decode().strip()
            except OSError:
                continue
        return ""

    def stopped(self):
        """Does it stand still by the freezer?  By the state of its cgroup, on v1 or v2."""
        for line in common.read_file(f"/proc/{self.pid}/cgroup").decode().splitlines():
            number, controllers, path = line.split(":", 2)
            for point, version, options in common.mounts():
                if path == "/":
                    continue
                if version == 1 and "freezer" in controllers.split(",") and "freezer" in options:
                    state, mark = "freezer.state", b"FROZEN"
                elif version == 2 and number == "0":
                    state, mark = "cgroup.events", b"frozen 1"
                else:
                    continue
                if mark in common.read_file(f"{point}{path}/{state}"):
                    return True
        return False

    def alive(self):
        return _state(self.pid) not in ("", "Z", "X")

    def end(self):
        for pid in (self.pid, self.tool.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.tool.wait()
        self._peer.clean(self._name)
        if self.cgroup != memory_cgroup(os.getpid()):  # of a peer that makes none
            wait_until(lambda: _remove(self.cgroup), 3)


def _remove(cgroup):
    """True when it is gone."""
    try:
        os.rmdir(cgroup)
    except OSError:
        return not os.path.isdir(cgroup)
    return True


def _find(tag):
    """Pid of the hog with this word; never of a tool that has it in its command line too."""
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                words = common.read_file(f"/proc/{entry}/cmdline").split(b"\0")
                if tag in words and common.read_file(f"/proc/{entry}/comm") == b"hog\n":
                    return int(entry)
            except OSError:
                continue
    return None


def _state(pid):
    try:
        return common.read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0].decode()
    except OSError:
        return ""


def memory_cgroup(pid):
    """Directory of the memory cgroup of a process."""
    point, version = common.memory_hierarchy()
    for line in common.read_file(f"/proc/{pid}/cgroup").decode().splitlines():
        number, controllers, path = line.split(":", 2)
        if (version == 2 and number == "0") or "memory" in controllers.split(","):
            return f"{point}{path}"
    return point


def wait_until(what, seconds):
    deadline = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return done


# ---- the trials --------------------------------------------------------------------------------


def limit(peer, name):
    """A program that takes 200 MiB under a limit of 64."""
    outcome = peer.run(name, "say", "BEGUN", "alloc", "200", "say", "SURVIVED")
    survived = "SURVIVED" in outcome.text
    if peer.shows and "BEGUN" not in outcome.text:
        raise peers.NotHere(str(outcome))
    return "no" if survived else "yes", str(outcome)


def verdict(peer, name):
    """The same, beside one that is ended by SIGKILL."""
    oom = peer.run(name, "alloc", "200")
    # From outside: process 1 of a container cannot do it to itself.
    running = Running(peer, f"{name}-2", tell=True)
    try:
        os.kill(running.pid, signal.SIGKILL)
        text = running.tool.communicate(timeout=_PATIENCE)[0]
        killed = peer.after(f"{name}-2", Outcome(running.tool.returncode, text))
    finally:
        running.end()
    yes = peer.told_memory(oom) and not peer.told_memory(killed)
    seen = f"OOM: {oom} -- SIGKILL: {killed}"
    return ("by hand" if peer.by_hand else "yes") if yes else "no", seen


def child(peer, name):
    """Only a child of the program is killed, and the program exits 0."""
    outcome = peer.run(name, "child", "alloc", "200", "end", "exit", "0")
    yes = peer.told_memory(outcome)
    return ("by hand" if peer.by_hand else "yes") if yes else "no", str(outcome)


def peak(peer, name):
    """A program that takes 30 MiB."""
    outcome = peer.run(name, "alloc", "30")
    found = peer.peak(outcome)
    good = found is not None and 30 * MIB <= found < 40 * MIB
    seen = f"told {found / MIB:.1f} MiB" if found else str(outcome)
    return ("by hand" if peer.by_hand else "yes") if good else "no", seen


def status(peer, name):
    """A program that exits with 7."""
    outcome = peer.run(name, "exit", "7")
    told = peer.status(outcome)
    exits = outcome.status == 7
    return "yes" if exits else "partly" if told == 7 else "no", (
        f"exit status {outcome.status}" + ("" if exits else f", and tells {told}")
    )


def inside(peer, name):
    """Which limits are those of the cgroup in which the program runs."""
    running = Running(peer, name)
    try:
        files = ("memory.max", "memory.limit_in_bytes")
        found = running.read(*files)
        return "yes" if found == str(LIMIT) else "no", f"{running.cgroup}: limit {found or 'none'}"
    finally:
        running.end()


def swap(peer, name):
    """The limit on swap that it sets beside that on memory, asked for memory alone."""
    peer.bounded = False
    try:
        running = Running(peer, name)
    finally:
        peer.bounded = True
    try:
        total = running.read("memory.memsw.limit_in_bytes")
        alone = running.read("memory.swap.max")
        if not total and not alone:
            raise peers.NotHere("this kernel does not account for swap")
        if alone:
            bounded = alone != "max"
            return "yes" if bounded else "no", f"memory.swap.max {alone}"
        bounded = int(total) <= 16 * LIMIT
        return "yes" if bounded else "no", f"memory.memsw.limit_in_bytes {total}"
    finally:
        running.end()


def cache(peer, name):
    """A file of 40 MiB that the program writes counts."""
    directory = "/tmp"  # of the root file system that the program sees
    running = Running(peer, name, "file", f"{directory}/{name}.data", "40")
    try:

        def used():
            return int(running.read("memory.current", "memory.usage_in_bytes") or 0)

        good = wait_until(lambda: used() >= 40 * MIB, 10)
        return "yes" if good else "no", f"{used() / MIB:.1f} MiB used by its cgroup"
    finally:
        running.end()
        if os.path.exists(f"{directory}/{name}.data"):
            os.unlink(f"{directory}/{name}.data")


def killed(peer, name):
    """SIGKILL of the tool: what becomes of the program and its cgroup."""
    running = Running(peer, name)
    own = running.cgroup
    try:
        os.kill(running.tool.pid, signal.SIGKILL)
        running.tool.wait()
        ended = wait_until(lambda: not running.alive(), 5)
        gone = wait_until(lambda: not os.path.isdir(own), 5 if ended else 0.1)
        if running.tool.pid == running.pid:
            return "yes", "the tool has become the program"
        seen = f"the program {'ended' if ended else 'goes on'}"
        if not peer.limits:
            return "yes" if ended else "no", seen
        if ended and not gone:
            peer.next_start()
            if not os.path.isdir(own):
                return "yes", f"{seen}, its cgroup is left until the next start"
        seen += f", its cgroup is {'gone' if gone else 'left'}"
        return "yes" if ended and gone else "partly" if ended else "no", seen
    finally:
        running.end()


def change(peer, name):
    """The limit of a running program."""
    command = peer.change(name)
    if command is None:
        raise peers.NotHere("no command for it")
    running = Running(peer, name)
    try:
        outcome = finish(command)
        found = running.read("memory.max", "memory.limit_in_bytes")
        return "yes" if found == str(96 * MIB) else "no", f"{command[0]}: {outcome}; limit {found}"
    finally:
        running.end()


def pause(peer, name):
    """Stop a running program, and let it go on."""
    commands = peer.pause(name)
    if commands is None:
        raise peers.NotHere("no command for it")
    running = Running(peer, name)
    try:
        first = finish(commands[0])
        stopped = wait_until(running.stopped, 3)
        second = finish(commands[1])
        again = wait_until(lambda: not running.stopped(), 3)
        yes = "by hand" if peer.by_hand else "yes"
        return yes if stopped and again else "no", (
            f"{' '.join(commands[0][-2:])}: {first}; {' '.join(commands[1][-2:])}: {second}"
        )
    finally:
        running.end()


def cage(peer, name):
    """The pid that the program sees."""
    command = peer.cage(name, "pid")
    if command is None:
        raise peers.NotHere("no command for it")
    outcome = finish(command, 4 * _PATIENCE)
    found = re.search(r"^\d+$", outcome.text, re.MULTILINE)
    if not found:
        raise peers.NotHere(str(outcome))
    return "yes" if int(found[0]) < 20 else "no", f"the program sees itself as pid {found[0]}"


def restart(peer, name):
    """A program that is OOM-killed, again and again."""
    count = peer.restarts(name)
    if count is None:
        raise peers.NotHere("no option for it")
    return (
        "yes" if count else "no",
        f"started again {count} times" if count > 1 else "started again",
    )


def warn(peer, name):
    """Somebody is told at half of the limit, while the program goes on."""
    if not isinstance(peer, Climits):
        raise peers.NotHere("no option for it")
    running = Running(peer, name, "hold", "3000", "alloc", "40")
    try:
        words = [peers.CLIMITS, "watch", name, "--threshold", "50%", "--once"]
        told = finish(words)
        return "yes" if running.alive() and "threshold" in told.text else "no", str(told)
    finally:
        running.end()


def hold(peer, name):
    """The program waits at its limit, and is not killed."""
    if not isinstance(peer, Climits):
        raise peers.NotHere("no option for it")
    command = peer.command(name, "alloc", "200", "exit", "0")
    command[2:2] = ["--on-oom", "pause"]
    with open(os.devnull, "r+b") as null:
        tool = subprocess.Popen(
            command, env=common.environment(), stdin=null, stdout=null, stderr=null
        )
    time.sleep(3)
    waits = tool.poll() is None
    finish([peers.CLIMITS, "set", name, "memory.max=300M"])
    try:
        status = tool.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        tool.kill()
        status = tool.wait()
    seen = (
        f"after 3 s it {'waits' if waits else 'has ended'}; with a limit of 300M: status {status}"
    )
    return "yes" if waits and status == 0 else "no", seen


TRIALS = {
    function.__name__: function
    for function in (
        limit, inside, verdict, child, peak, cache, swap, status, killed, change, pause, restart,
        warn, hold, cage,
    )
}  # fmt: skip
#: Of a peer that sets no limit.
WITHOUT_LIMIT = ("limit", "status", "killed", "cage")


def tried(kind, trials, say):
    """Try one peer.

    Returns:
        {"version": ..., "cells": {trial: {"answer", "seen"}}, "not_run": {trial: reason}}; when
        it is not here at all, {"not_here": reason}.
    """
    try:
        peer = kind(build_hog())
        found = {"version": peer.version(), "cells": {}, "not_run": {}}
    except (peers.NotHere, OSError, subprocess.TimeoutExpired) as e:
        say(f"{kind.name}: not here: {e}")
        return {"not_here": str(e)}
    try:
        for trial in trials:
            if not peer.limits and trial not in WITHOUT_LIMIT:
                continue
            name = f"{common.own_name()}-{trial}"
            try:
                answer, seen = TRIALS[trial](peer, name)
                found["cells"][trial] = {"answer": answer, "seen": tidy(seen)}
                say(f"{kind.name}: {trial}: {answer}: {tidy(seen)}")
            except (peers.NotHere, OSError, subprocess.TimeoutExpired) as e:
                found["not_run"][trial] = tidy(str(e))
                say(f"{kind.name}: {trial}: not run: {tidy(str(e))}")
            finally:
                peer.clean(name)
    finally:
        if hasattr(peer, "close"):
            peer.close()
    return found


def tidy(text):
    """Without names that are of this run alone."""
    for ours, shown in (
        (common.own_name(), "NAME"), (f"{tempfile.gettempdir()}/NAME/", ""), (f"{peers.BIN}/", "")
    ):  # fmt: skip
        text = text.replace(ours, shown)
    return re.sub(r"\x1b\[[\d;]*m", "", " ".join(text.split()))
