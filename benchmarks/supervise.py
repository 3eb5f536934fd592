"""What keeping programs alive costs: idle CPU, memory, time from an OOM kill to the restart.

What is measured, and from which clock:

Idle CPU
    of every process of the supervisor itself, the programs left out, between two looks: user and
    system time from /proc/PID/stat, in ticks of the kernel (10 ms as a rule), and voluntary context
    switches from /proc/PID/task/*/status, one for each time that it went to sleep again.
Size
    VmRSS of /proc/PID/status and Pss of smaps_rollup, summed over the same processes; the entries
    of /proc/PID/fd of the supervisor.  What one program adds is the difference to a supervisor of a
    single program, shared among the others.
Restart
    from the kernel's OOM kill to the start of the new program.  The kill is the time stamp of the
    kernel log's line "Killed process PID", written by the kernel right after it has sent SIGKILL
    (mm/oom_kill.c, __oom_kill_process); so the kernel's own work to end the process and free its
    memory is inside, and the same for all.  The start is the first line of `main` of the new
    program, which is statically linked: so execve is inside too.  The program reads
    CLOCK_MONOTONIC; the kernel log has a clock of its own (local_clock), whose distance to
    CLOCK_MONOTONIC is measured after each sample by a line written to the log between two looks at
    CLOCK_MONOTONIC.  The error is at most the time between these two looks, about 0.05 ms, and a
    sample where it is more than 0.5 ms is not counted (lost).
    Most of that time may be the kernel's: it prints the line to the console before the killed
    process can end, which takes 5 ms where that is a serial line.  So there is a second figure,
    from the end of the killed process: when this benchmark, which waits at a pidfd of it as the
    supervisor does, sees it end.

All supervisors run at the same time and take turns in leaking.  Each program waits for a random
time, so that it is in no step with those that look at their programs once in a while.  climits
puts its program into a cgroup of its own and removes that at each end; for the others the program
itself moves into a cgroup with the same limit, after it has told its start.
"""

import os
import random
import select
import shutil
import signal
import sys
import time

import common
import memory
import peers
import supervisors
from supervisors import CLIMITS, PATIENCE, SUBJECTS, Running, file_name, in_scratch

#: Targets.
MOST_RSS = 20.0  # MiB, of the supervisor of all programs, and its guard
MOST_FDS = 2.0  # for each program
MOST_RESTART = 6.0  # ms, median
LEAST_RATIO = 100.0  # of a peer's restart to ours

_SLEEP = ("/bin/sleep", "100000")
_PAUSE = 0.3, 1.3  # seconds before a program leaks
_CLOCK_ERROR = 0.5e6  # ns


# ---- idle --------------------------------------------------------------------------------------


class Spent:
    """What processes have used so far: ticks of CPU time, voluntary and other switches."""

    def __init__(self, pids):
        self.ticks = self.slept = self.preempted = 0
        for pid in pids:
            stat = common.read_file(f"/proc/{pid}/stat").rpartition(b")")[2].split()
            self.ticks += int(stat[11]) + int(stat[12])
            for thread in os.listdir(f"/proc/{pid}/task"):
                path = f"/proc/{pid}/task/{thread}/status"
                lines = common.read_file(path).splitlines()
                switches = dict(line.split(b":") for line in lines if b"_ctxt_switches" in line)
                self.slept += int(switches[b"voluntary_ctxt_switches"])
                self.preempted += int(switches[b"nonvoluntary_ctxt_switches"])

    def since(self, before):
        """(CPU in ticks, sleeps, preemptions) since then."""
        return (
            self.ticks - before.ticks,
            self.slept - before.slept,
            self.preempted - before.preempted,
        )


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def many(report, options):
    """Lines of the table of one supervisor with many programs."""
    with Running(supervisors.climits("one", _SLEEP)) as one:
        one.wait_for(1)
        time.sleep(options.settle)
        own = one.own()
        few_fds, few_rss = descriptors(one.top.pid), memory.resident(own)[0]
    count = options.programs
    with Running(supervisors.climits("many", _SLEEP, count)) as every:
        took = every.wait_for(count)
        time.sleep(options.settle)
        own = every.own()
        before = Spent(own)
        time.sleep(options.watch)
        ticks, slept, preempted = Spent(own).since(before)
        every.check()
        fds = descriptors(every.top.pid)
        rss, pss, processes = memory.resident(own)
        supervisor = memory.resident([every.top.pid])[0]
    others = max(count - 1, 1)
    each = (fds - few_fds) / others
    watched = f"in {options.watch:g} s"

    def line(what, value, unit="", most=None):
        if most is None:
            return [what, value, "", ""]
        holds = report.target(what, float(value), unit, at_most=most)
        return [what, value, f"<= {most:g}" if most else "0", holds]

    number = common.number
    return [
        line(f"wake-ups {watched}", slept, "", 0),
        line(f"CPU {watched} (ticks)", ticks, "ticks", 0),
        line(f"preempted {watched}", preempted),
        line(f"RSS of its {processes} processes (MiB)", number(rss), "MiB", MOST_RSS),
        line("of that the supervisor's own", number(supervisor)),
        line("PSS of both (MiB)", number(pss)),
        line("RSS a program adds (KiB)", number((rss - few_rss) * 1024 / others)),
        line("descriptors", fds),
        line("descriptors a program adds", number(each), "", MOST_FDS),
        line("to start them all (s)", number(took)),
    ]  # fmt: skip


def beside(options, reasons):
    """Lines of the table of all supervisors at once, with the same programs."""
    count, running, lines = options.beside, {}, []
    try:
        for subject, make in SUBJECTS.items():
            try:
                argv = make(f"beside-{file_name(subject)}", _SLEEP, count)
                running[subject] = Running(argv)
                running[subject].wait_for(count)
            except peers.NotHere as e:
                reasons.append(f"{subject}: {e}")
                if subject in running:
                    running.pop(subject).close()
        time.sleep(options.settle)
        own = {subject: one.own() for subject, one in running.items()}
        before = {subject: Spent(pids) for subject, pids in own.items()}
        time.sleep(options.beside_watch)
        after = {subject: Spent(pids) for subject, pids in own.items()}
        tick = 1000 / os.sysconf("SC_CLK_TCK")
        for subject in SUBJECTS:
            if subject not in own:
                lines.append([subject, "not run", *[""] * 4])
                continue
            ticks, slept, _ = after[subject].since(before[subject])
            rss, pss, processes = memory.resident(own[subject])
            lines.append([
                subject, common.number(ticks * tick) if ticks else "0", slept, common.number(rss),
                common.number(pss), processes,
            ])  # fmt: skip
    finally:
        for one in running.values():
            one.ask_to_end()
        for one in running.values():
            one.close()
    return lines


# ---- the kernel log ----------------------------------------------------------------------------


class KernelLog:
    """Reads what the kernel says from now on."""

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)
        self._marks = 0
        self._lines = []  # (ns, text)

    def _read(self):
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:
                continue  # some were overwritten before we came
            head, _, text = record.partition(b";")
            self._lines.append((int(head.split(b",")[2]) * 1000, text))

    def _find(self, pattern, patience=2.0):
        """Its time stamp, ns; waits for what is just being written."""
        deadline = time.monotonic() + patience
        while True:
            self._read()
            for stamp, text in self._lines:
                if pattern in text:
                    return stamp
            if time.monotonic() > deadline:
                return None
            select.select([self._fd], [], [], 0.01)

    def ahead(self):
        """How far CLOCK_MONOTONIC is ahead of the log's clock, and the error of that; ns."""
        best = None
        # Of ten lines in 5 s from one open file the kernel takes no more.
        out = os.open("/dev/kmsg", os.O_WRONLY)
        try:
            for _ in range(3):
                self._marks += 1
                mark = b"%s: clock mark %d\n" % (common.own_name().encode(), self._marks)
                begin = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                os.write(out, b"<7>" + mark)
                end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
                stamp = self._find(mark)
                if stamp is not None and (best is None or end - begin < best[1]):
                    best = (begin + end) // 2 - stamp, end - begin
        finally:
            os.close(out)
        return best

    def killed(self, pid):
        """When the OOM killer killed a process, ns of CLOCK_MONOTONIC; None: not known."""
        stamp = self._find(b"Killed process %d (" % pid)
        ahead = self.ahead()
        self._lines.clear()
        if stamp is None or ahead is None or ahead[1] > _CLOCK_ERROR:
            return None
        return stamp + ahead[0]

    def close(self):
        os.close(self._fd)


# ---- restart -----------------------------------------------------------------------------------


class Kept:
    """A leaky program that somebody keeps alive.

    Attributes:
        running: who; None for the loop by hand.
        pid: of the program that runs.
        times: list of ns from the kill to the new start.
        from_end: the same from the end of the killed process.
        lost: samples whose kill was not found in the kernel log, or not well enough.
    """

    def __init__(self, subject, leaky, start):
        self.times, self.from_end, self.lost = [], [], 0
        fifo = in_scratch(f"{file_name(subject)}.fifo")
        os.mkfifo(fifo, 0o600)
        # Open for writing too, or it would be at its end whenever no program writes.
        self._fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        command = [leaky, fifo]
        if subject != CLIMITS:
            command.append(supervisors.cgroup_by_hand(file_name(subject)))
        self.running = start(command)
        try:
            self.pid, _ = self._started()
        except peers.NotHere:
            self.close()
            raise

    def _started(self):
        """(pid, ns of CLOCK_MONOTONIC) of the next start."""
        deadline = time.monotonic() + PATIENCE
        while not select.select([self._fd], [], [], 1)[0]:
            self.running.check()
            if time.monotonic() > deadline:
                raise peers.NotHere(f"no program was started in {PATIENCE:g} s")
        words = os.read(self._fd, 64).split()
        if len(words) != 2:
            raise peers.NotHere(f"more than one program was started: {words}")
        return int(words[0]), int(words[1])

    def leak(self, log):
        """Let it leak once."""
        pid = self.pid
        pidfd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(pidfd, signal.SIGUSR1)
            if not select.select([pidfd], [], [], PATIENCE)[0]:
                raise peers.NotHere(f"the program was not killed in {PATIENCE:g} s")
            end = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        finally:
            os.close(pidfd)
        self.pid, start = self._started()
        kill = log.killed(pid)
        if kill is None:
            self.lost += 1
        else:
            self.times.append(start - kill)
            self.from_end.append(start - end)

    def close(self):
        self.running.close()
        os.close(self._fd)


def build_leaky():
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise peers.NotHere("a C compiler is needed to build leaky.c")
    leaky = in_scratch("leaky")
    source = os.path.join(peers.HERE, "leaky.c")
    peers.try_out([[compiler, "-O2", "-static", "-o", leaky, source]])
    return leaky


def starter(subject, make):
    """A function that has a supervisor run a command."""
    name = f"leaky-{file_name(subject)}"
    if make is supervisors.climits:
        # Each run is a healthy one, after which it is started again at once.
        extra = 'max_oom_restarts = "max"\nhealthy_after = "100ms"\n'
        return lambda command: Running(supervisors.climits(name, command, 1, extra))
    return lambda command: Running(make(name, command, 1))


_BY_HAND = "by hand: waitpid; posix_spawn"


def restarts(report, options, reasons):
    """Lines of the table of restarts."""
    leaky = build_leaky()
    starts = {name: starter(name, make) for name, make in SUBJECTS.items()}
    starts[_BY_HAND] = supervisors.ByHand
    kept = {}
    log = KernelLog()
    try:
        for subject, start in starts.items():
            try:
                kept[subject] = Kept(subject, leaky, start)
            except peers.NotHere as e:
                reasons.append(f"{subject}: {e}")
        order, turn = random.Random(options.seed), list(kept)
        for _ in range(options.kills):
            order.shuffle(turn)
            for subject in turn:
                time.sleep(order.uniform(*_PAUSE))
                kept[subject].leak(log)
    finally:
        for one in kept.values():
            one.close()
        log.close()
    if CLIMITS not in kept or not kept[CLIMITS].times:
        raise peers.NotHere("the kernel log does not tell of the kills of climits' program")
    ours = common.median(kept[CLIMITS].times)
    return [restart_line(report, subject, kept.get(subject), ours) for subject in starts]


def restart_line(report, subject, kept, ours):
    if kept is None or not kept.times:
        return [subject, "not run", *[""] * 8]
    cells = [subject, len(kept.times), kept.lost]
    for way, times in (("from the end", kept.from_end), ("from the kill", kept.times)):
        cells += [common.number(common.median(times) / 1e6), common.spread(times, 1e-6)]
        report.samples(subject, [ns / 1e6 for ns in times], "ms", way)
    middle = common.median(kept.times)
    if subject == CLIMITS:
        holds = report.target("restart by climits", middle / 1e6, "ms", at_most=MOST_RESTART)
        return [*cells, "1", f"<= {MOST_RESTART:g} ms", holds]
    ratio = middle / ours
    cells.append(f"{common.number(ratio)}x")
    if subject in (_BY_HAND, supervisors.WITHOUT_TARGET):
        return [*cells, "", ""]
    what = f"restart by {subject}, over climits"
    return [*cells, f">= {LEAST_RATIO:g}x", report.target(what, ratio, "x", at_least=LEAST_RATIO)]


# ---- measuring ---------------------------------------------------------------------------------


def measure(options):
    common.scratch()
    report = common.Report("supervise: programs kept alive", options)
    report.heading(f"climits supervise -c FILE, {options.programs} programs `sleep`, a limit each")
    report.add(common.Table(["what", "measured", "target", "holds"], many(report, options)))
    report.heading("from the kernel's OOM kill to the new program's start")
    reasons = []
    lines = restarts(report, options, reasons)
    headings = [
        "who", "OOM kills", "lost", "from the end (ms)", "p10-p90", "from the kill (ms)", "p10-p90",
        "ratio", "target", "holds",
    ]  # fmt: skip
    report.add(common.Table(headings, lines, reasons))
    report.heading(f"{options.beside} programs `sleep` while nothing happens, all at once")
    reasons = []
    lines = beside(options, reasons)
    watched = f"in {options.beside_watch:g} s"
    headings = [
        "who", f"CPU {watched} (ms)", f"wake-ups {watched}", "RSS (MiB)", "PSS (MiB)", "processes",
    ]  # fmt: skip
    report.add(common.Table(headings, lines, reasons))
    report.end()


def main():
    parser = common.arguments(__doc__.partition("\n")[0], rounds=None, isolated=None)
    counts = {  # name: (full, quick, what)
        "programs": (1000, 50, "programs of the first table"),
        "watch": (60, 3, "seconds to look at them"),
        "kills": (60, 4, "OOM kills of each"),
        "beside": (200, 20, "programs beside the peers"),
        "beside-watch": (30, 3, "seconds to look at them"),
        "settle": (3, 1, "seconds to settle before each look"),
    }
    for name, (full, quick, what) in counts.items():
        parser.add_argument(
            f"--{name}", type=int, metavar="N", help=f"{what} ({full}; quick: {quick})"
        )
    parser.add_argument("--seed", type=int, default=common.SEED, help="of the order (%(default)d)")

    def with_counts(options):
        for name, (full, quick, _) in counts.items():
            key = name.replace("-", "_")
            if getattr(options, key) is None:
                count = quick if options.quick else full
                # The others are what is measured, and no rounds.
                setattr(options, key, common.share(count, options) if name == "kills" else count)
        try:
            measure(options)
        except peers.NotHere as e:
            sys.exit(f"supervise: {e}")

    common.main(parser, with_counts)


if __name__ == "__main__":
    main()
