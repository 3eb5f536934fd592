"""What of a supervisor needs no kernel: what is done first, and what is opened when."""

import os
import signal

import pytest

from climits.errors import CgroupError
from climits.records import MemoryEvents
from climits.supervise.loop import Loop
from climits.supervise.oom import OomWatch
from climits.supervise.supervisor import Supervisor


class Asked:
    """Descriptors that are readable, each with something to do."""

    def __init__(self, loop):
        self.loop, self.fds = loop, []

    def add(self, call):
        fd = os.eventfd(1)
        self.fds.append(fd)

        def once(_events):
            self.loop.forget(fd)
            call()

        self.loop.watch(fd, once)

    def close(self):
        for fd in self.fds:
            os.close(fd)


@pytest.fixture
def told():
    return []


@pytest.fixture
def supervisor(told):
    supervisor = Supervisor([], told.append)
    yield supervisor
    supervisor.loop.close()


@pytest.fixture
def asked(supervisor):
    asked = Asked(supervisor.loop)
    yield asked
    asked.close()


def test_what_is_told_comes_after_all_that_is_urgent(supervisor, told, asked):
    seen = []

    def end(name):
        supervisor.later(lambda: supervisor.tell("ended", at=1.5, program=name))
        supervisor.tell("restarting", program=name)
        seen.append((name, list(told)))

    for name in "ab":
        asked.add(lambda name=name: supervisor.urgently(lambda: end(name)))
    supervisor.loop.turn()
    assert sorted(seen) == [("a", []), ("b", [])]
    order = [name for name, _ in seen]
    assert [(e["event"], e["program"]) for e in told] == [
        (event, name) for name in order for event in ("ended", "restarting")
    ]
    assert [e["time"] for e in told if e["event"] == "ended"] == [1.5, 1.5]
    supervisor.tell("later", program="a")  # at once again
    assert told[-1]["event"] == "later"


def test_what_was_told_before_something_failed_is_told(supervisor, told, asked):
    def end():
        supervisor.tell("ended")
        raise CgroupError("cannot")

    asked.add(lambda: supervisor.urgently(end))
    supervisor.loop.turn()
    assert [e["event"] for e in told] == ["ended", "error"]


def test_a_word_that_fails_does_not_take_the_others(supervisor, told, asked):
    def end():
        supervisor.later(lambda: os.close(-1))
        supervisor.tell("restarting")

    asked.add(lambda: supervisor.urgently(end))
    supervisor.loop.turn()
    assert [e["event"] for e in told] == ["error", "restarting"]


def test_what_nobody_foresaw_leaves_the_rest_to_the_end(supervisor, told, asked):
    def end():
        supervisor.later(lambda: [][1])
        supervisor.tell("restarting")

    asked.add(lambda: supervisor.urgently(end))
    with pytest.raises(IndexError):
        supervisor.loop.turn()
    assert told == []
    supervisor._catch_up()
    assert [e["event"] for e in told] == ["restarting"]


def test_programs_are_ended_even_if_there_are_no_words_for_it(supervisor, monkeypatch):
    ended = []
    monkeypatch.setattr(supervisor, "many", True)
    monkeypatch.setattr(supervisor, "_start_guard", lambda: None)
    monkeypatch.setattr(supervisor, "_end_all", lambda: ended.append(True))

    def turn():
        supervisor.urgently(lambda: supervisor.later(lambda: [][1]))
        raise ZeroDivisionError

    monkeypatch.setattr(supervisor.loop, "turn", turn)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with pytest.raises(IndexError):
            supervisor.run()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    assert ended == [True]


# ---- before an end -------------------------------------------------------------------------


class Program:
    """As much of a process, its cgroup and its memory as OomWatch asks for."""

    OOM_MASK = 1

    def __init__(self, error=None):
        self.cgroup = self.memory = self
        self.pid, self.returncode, self.held, self.error = os.getpid(), None, 0, error

    def watch_oom(self):
        return os.eventfd(0)

    def drain_oom(self, fd):
        os.eventfd_read(fd)

    def events(self):
        return MemoryEvents(oom_kill=0)

    def hold_report(self):
        self.held += 1
        if self.error:
            raise self.error

    def rest(self):
        self.held = 0


def test_the_files_of_one_program_at_a_time_are_opened_at_an_oom():
    loop = Loop(lambda e: pytest.fail(str(e)))
    programs = [Program(CgroupError("too many open files")), Program()]
    watches = [OomWatch(loop, program, lambda _: None) for program in programs]
    for watch in watches:
        os.eventfd_write(watch.fd, 1)
    loop.turn()
    # Which comes first is the kernel's to say.
    assert sorted(program.held for program in programs) == [0, 1]
    while OomWatch.holder:  # until the look that follows, which finds nobody dead
        loop.turn()
    assert [program.held for program in programs] == [0, 0]
    for watch in watches:
        watch.close()
    loop.close()


def test_a_watch_that_ends_gives_way_to_the_next():
    loop = Loop(lambda e: pytest.fail(str(e)))
    first, second = Program(), Program()
    for program in (first, second):
        watch = OomWatch(loop, program, lambda _: None)
        os.eventfd_write(watch.fd, 1)
        loop.turn()
        assert program.held == 1
        watch.close()
    loop.close()
