"""What `climits top` does to real cgroups, and reads of them: without its screen."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from support import PATIENCE, until

from climits.cgroup.group import Cgroup
from climits.errors import CgroupGoneError, ClimitsError, InvalidValueError, LimitTooLowError
from climits.linux.proc import cgroup_paths
from climits.observe.top.actions import ACTIONS, one_line, prepare
from climits.observe.top.details import EMPTY, RUNNING, Reader
from climits.observe.top.feed import Feed
from climits.observe.top.meanings import meaning
from climits.units import UNLIMITED

MIB = 1 << 20
PATH = "/climits/climits-top"
#: Holds some memory, and ends with 5 at SIGUSR1.
HOLDER = """
import os, signal, sys
signal.signal(signal.SIGUSR1, lambda *_: os._exit(5))
data = bytearray(b"x" * (int(sys.argv[1]) << 20))
print("ready", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def group():
    group = Cgroup.create("climits-top", memory="64M")
    yield group
    if not group.tracker.directory.is_gone():
        group.thaw()
        group.kill()
        group.remove()
    group.close()


@pytest.fixture
def program(group):
    """A process in the cgroup that holds 12 MiB."""
    process = start(group, 12)
    yield process
    process.kill()
    process.wait()


def start(group, size):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(size)], stdout=subprocess.PIPE, text=True
    )
    group.attach(process.pid)  # before it allocates: interpreters take longer than that to start
    assert process.stdout.readline() == "ready\n"
    return process


def act(name, value="", path=PATH):
    """What somebody would see: (question, what was done)."""
    action = prepare(name, path)
    try:
        action.value = value
        return action.question(), action.run()
    finally:
        action.close()


# ---- actions -------------------------------------------------------------------------------


def test_set_limit(group, program):
    question, done = act("limit", "96M")
    assert question.startswith("change the limit from 64M to 96M?") and "in use" in question
    assert done == "the limit is now 96M" and group.memory.max == 96 * MIB
    assert act("limit", "max")[1] == "the limit is now max" and group.memory.max == UNLIMITED


def test_the_limit_that_there_is_stands_there_to_be_changed(group):
    action = prepare("limit", PATH)
    assert action.default() == "64M"
    action.close()


def test_a_limit_below_what_is_in_use_is_refused_with_the_figures(group, program):
    action = prepare("limit", PATH)
    action.value = "1M"
    assert "has to be reclaimed first" in action.question()
    with pytest.raises(LimitTooLowError):
        action.run()
    action.close()
    assert group.memory.max == 64 * MIB and program.poll() is None


@pytest.mark.parametrize("value", ["20MB", "much", "", "-1", "1e3", "99999999T"])
def test_a_limit_that_means_nothing_is_refused_before_it_is_asked(group, value):
    action = prepare("limit", PATH)
    action.value = value
    with pytest.raises(InvalidValueError):
        action.question()
    action.close()


def test_freeze_and_thaw(group, program):
    assert act("freeze") == ("stop 1 process, until thawed?", "frozen; u thaws it")
    assert group.freezer.is_frozen()
    assert dict(Reader(PATH).read().facts)["state"] == "frozen"
    assert act("thaw") == ("let 1 process go on?", "thawed")
    assert not group.freezer.is_asked()


def test_reclaim(group, program):
    question, done = act("reclaim", "50%")
    assert question.startswith("take ") and "reclaimed" in done
    assert program.poll() is None


def test_kill(group, program):
    question, done = act("kill")
    assert question.startswith("kill 1 process ") and done == "1 killed"
    assert program.wait(60 * PATIENCE) == -signal.SIGKILL
    assert act("kill")[1] == "0 killed"


def test_signal_reaches_all_that_is_below(group):
    # On v2 processes live in leaves.
    below = [Cgroup.create(f"climits-below{i}", parent=PATH) for i in range(2)]
    programs = []
    try:
        programs += [start(each, 1) for each in below]
        question, done = act("signal", "usr1")
        assert question == "send SIGUSR1 to 2 processes?" and done == "SIGUSR1 sent to 2"
        assert [program.wait(60 * PATIENCE) for program in programs] == [5, 5]
    finally:
        for program in programs:
            program.kill()
            program.wait()
        for each in below:
            each.kill()
            each.remove()


def test_a_signal_that_there_is_not(group):
    action = prepare("signal", PATH)
    action.value = "USR9"
    with pytest.raises(InvalidValueError, match="USR9: no such signal"):
        action.question()
    action.close()


# ---- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIONS)
def test_the_root_is_left_alone(name):
    with pytest.raises(InvalidValueError, match="every process of the machine"):
        prepare(name, "/")


@pytest.mark.parametrize("name", ["freeze", "kill", "signal"])
def test_what_would_hit_ourselves_is_refused(name):
    paths = cgroup_paths()
    own = paths.get("memory", paths.get("", "/"))
    with pytest.raises(InvalidValueError, match="would reach"):
        prepare(name, own)


def test_a_lower_limit_on_ourselves_is_refused_and_a_higher_one_is_not():
    group = Cgroup.create("climits-top", memory="900M")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:  # in a process of its own: this one stays where it is
        try:
            group.attach(os.getpid())
            action = prepare("limit", PATH)
            action.value = "800M"
            try:
                action.question()
                told = "allowed"
            except InvalidValueError as e:
                told = str(e)
            action.value = "1000M"
            os.write(writer, f"{told}|{action.question()}".encode())
        finally:
            os._exit(0)
    try:
        os.close(writer)
        os.waitpid(pid, 0)
        told, question = os.read(reader, 1000).decode().split("|")
        assert "would reach this command too" in told
        assert question.startswith("change the limit from 900M to 1000M?")
    finally:
        os.close(reader)
        group.kill()
        group.remove()


# ---- a cgroup that vanishes ----------------------------------------------------------------


@pytest.mark.parametrize("name", ACTIONS)
def test_one_that_is_gone(name):
    with pytest.raises(CgroupGoneError):
        prepare(name, PATH)


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("again", [False, True], ids=["gone", "made anew"])
def test_one_that_vanishes_while_somebody_thinks(group, name, again):
    action = prepare(name, PATH)
    action.value = {"limit": "32M", "reclaim": "1M", "signal": "TERM"}.get(name, "")
    action.question()
    group.remove()
    other = Cgroup.create("climits-top", memory="64M") if again else None
    try:
        with pytest.raises(ClimitsError) as caught:
            action.run()
        assert "\n" not in one_line(caught.value)
        if other:  # it is another one, and left as it is
            assert other.memory.max == 64 * MIB and not other.freezer.is_asked()
    finally:
        action.close()
        if other:
            other.remove()


# ---- details -------------------------------------------------------------------------------


def test_details(group, program):
    details = Reader(PATH).read()
    assert (details.path, details.error) == (PATH, "")
    facts = dict(details.facts)
    assert facts["limits"].startswith("max 64M") and facts["state"] == RUNNING
    assert "anon" in facts["in use"] and "OOM kills 0" in facts["so far"]
    (process,) = details.processes
    assert (process.pid, process.threads, process.below) == (program.pid, 1, "")
    assert process.resident > 12 * MIB and process.name.startswith("python")
    assert details.are_all and details.zeros > 0
    keys = {key: value for key, value, _ in details.stat}
    assert keys.get("anon") or keys.get("rss")
    # What v1 tells twice is told once, with those below counted.
    assert not any(key.startswith("total_") for key in keys) and len(keys) == len(details.stat)


def test_each_line_of_memory_stat_here_has_a_meaning_or_is_a_counter_of_reclaim(group):
    data = group.part("memory").directory.read("memory.stat").decode()
    keys = [line.split()[0] for line in data.splitlines()]
    known = [key for key in keys if meaning(key)]
    assert len(known) >= len(keys) // 2
    kinds = {"cache", "rss", "shmem", "swap", "anon", "file", "kernel", "slab", "sock"}
    assert all(meaning(key) for key in keys if key.removeprefix("total_") in kinds)


def test_details_of_one_without_processes_and_below_it(group):
    reader = Reader(PATH)
    assert dict(reader.read().facts)["state"] == EMPTY
    below = Cgroup.create("climits-below", parent=PATH)
    process = start(below, 1)
    try:
        (found,) = reader.read().processes
        assert (found.pid, found.below) == (process.pid, "climits-below")
    finally:
        process.kill()
        process.wait()
        below.kill()
        below.remove()
        reader.close()


def test_details_of_one_that_is_gone(group):
    reader = Reader(PATH)
    assert reader.read().error == ""
    group.remove()
    assert reader.read().error == "the cgroup was removed"
    reader.close()
    assert Reader(PATH).read().error == "the cgroup was removed"


def test_details_of_the_root():
    details = Reader("/").read()
    assert details.error == "" and details.processes


# ---- the feed ------------------------------------------------------------------------------


class Listener:
    """Takes what a feed tells."""

    def __init__(self):
        self.looks, self.listens = [], True

    def __call__(self, look):
        self.looks.append(look)
        return self.listens

    def last(self):
        return next(look for look in reversed(self.looks) if look.samples is not None)


@pytest.fixture
def feed():
    listener = Listener()
    feed = Feed("/climits", 0.05, listener)
    feed.listener = listener
    yield feed
    listener.listens = False
    feed.stop()
    until(lambda: not feed.is_alive())


def test_a_feed_follows_what_comes_and_goes(group, feed):
    feed.start()
    until(lambda: feed.listener.looks)
    assert PATH in feed.listener.last().samples
    other = Cgroup.create("climits-other")
    try:
        until(lambda: "/climits/climits-other" in feed.listener.last().samples)
    finally:
        other.remove()
    until(lambda: "/climits/climits-other" not in feed.listener.last().samples)
    assert all(look.error == "" and look.details is None for look in feed.listener.looks)


def test_a_feed_tells_details_at_once(group):
    listener = Listener()
    feed = Feed("/climits", 3600.0, listener)
    feed.start()
    try:
        until(lambda: listener.looks)
        feed.want(PATH)
        until(lambda: len(listener.looks) > 1)
        look = listener.looks[-1]
        assert look.samples is None and look.details.path == PATH
        feed.want(None)
        feed.refresh()
        until(lambda: listener.looks[-1].details is None)
        assert listener.looks[-1].samples is not None
    finally:
        feed.stop()
        until(lambda: not feed.is_alive())


def test_a_feed_tells_of_its_own_failure(feed, monkeypatch):
    def fail(self, top):
        raise InvalidValueError("nothing works")

    monkeypatch.setattr("climits.observe.sampler.Sampler.scan", fail)
    feed.start()
    until(lambda: feed.listener.looks)
    assert feed.listener.looks[-1].error == "nothing works"


def test_a_feed_that_hangs_in_a_read_says_since_when(feed, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(
        "climits.observe.sampler.Sampler.scan", lambda self, top: go_on.wait(60 * PATIENCE)
    )
    feed.start()
    until(lambda: feed.since is not None)
    assert feed.listener.looks == []
    go_on.set()
    until(lambda: feed.listener.looks)
