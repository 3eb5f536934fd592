"""Events of real cgroups: each source, on every layout, alone and inside other loops."""

import asyncio
import errno
import os
import select
import subprocess
import sys
import threading
import time

import pytest
from support import IN_VM, PATIENCE, until

import climits
import climits.aio
from climits.cgroup import events as events_module
from climits.cgroup.events import Events, Trigger
from climits.cgroup.group import Cgroup
from climits.cgroup.triggers import parse_trigger
from climits.errors import CgroupPermissionError, InvalidValueError, UnsupportedError

MIB = 1 << 20
#: Holds as many MiB as the last line of its standard input says, and answers each line.
HOLDER = """
import mmap, sys
print(0, flush=True)
blocks = []
for line in sys.stdin:
    while len(blocks) > int(line):
        blocks.pop().close()
    while len(blocks) < int(line):
        blocks.append(mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        blocks[-1].write(b"x" * (1 << 20))
    print(line, end="", flush=True)
"""
QUIET = 500  # milliseconds in which nothing may happen


class Holder:
    """A program in a cgroup that holds as much memory as the test wants."""

    def __init__(self, **options):
        self.process = climits.Process(
            [sys.executable, "-c", HOLDER], stdin=-1, stdout=-1, text=True, **options
        )
        self.process.stdout.readline()
        self.cgroup = self.process.cgroup

    def hold(self, mib):
        self.process.stdin.write(f"{mib}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == f"{mib}\n"

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()


def wait_for(events, count=1):
    """The next events, as an outer loop gets them."""
    loop = select.epoll()
    loop.register(events, select.EPOLLIN)
    found = []
    until(lambda: (loop.poll(0.05) and found.extend(events.read())) or len(found) >= count)
    loop.close()
    return found


def is_quiet(events):
    """Nothing is told, and soon nothing wakes us: arming alone may do that once."""
    poll = select.poll()
    poll.register(events, select.POLLIN)
    for _ in range(3):
        if events.read():
            return False
        if poll.poll(QUIET) == []:
            return True
    return False


def triggers(*texts):
    return [parse_trigger(text) for text in texts]


def kinds(found):
    return [event.kind for event in found]


# ---- usage ---------------------------------------------------------------------------------------


def test_a_threshold_fires_once_when_usage_crosses_it():
    with Holder(memory="64M") as held, Events(held.cgroup, triggers("threshold=32M")) as events:
        assert events.read() == []
        before = time.time()
        held.hold(30)
        held.hold(40)
        [event] = wait_for(events)
        assert (event.kind, event.cgroup) == ("threshold", held.cgroup.path)
        assert (event.level, event.limit, event.count) == (32 * MIB, 64 * MIB, None)
        assert 32 * MIB <= event.current <= 64 * MIB
        assert before <= event.time <= time.time()
        assert event.trigger == Trigger(source="threshold", level=32 * MIB)
        held.hold(50)
        assert events.read() == []


def test_a_threshold_is_a_share_of_the_limit_too():
    with Holder(memory="80M") as held, Events(held.cgroup, triggers("threshold=50%")) as events:
        held.hold(45)
        [event] = wait_for(events)
        assert event.level == 40 * MIB


def test_a_share_follows_the_limit_when_it_is_told():
    with Holder(memory="64M") as held, Events(held.cgroup, triggers("threshold=50%")) as events:
        held.hold(40)
        assert [e.level for e in wait_for(events)] == [32 * MIB]
        events.refresh()
        assert events.read() == []  # the limit is as it was
        held.process.set_limits(memory="100M")
        events.refresh()
        assert events.read() == []
        held.hold(60)
        assert [e.level for e in wait_for(events)] == [50 * MIB]


def test_a_threshold_that_is_crossed_already_fires_at_once():
    with Holder(memory="64M") as held:
        held.hold(40)
        with Events(held.cgroup, triggers("threshold=32M")) as events:
            assert kinds(events.read()) == ["threshold"]


def test_a_threshold_fires_again_after_a_fall():
    with Holder(memory="64M") as held, Events(held.cgroup, triggers("threshold=32M")) as events:
        for _ in range(2):
            held.hold(40)
            assert kinds(wait_for(events)) == ["threshold"]
            held.hold(10)
            until(lambda: events.read() == [] and not events._sources[0].above)


def test_with_hysteresis_only_after_a_deep_one():
    trigger = Trigger(source="threshold", level=40 * MIB, hysteresis=15 * MIB)
    with Holder(memory="80M") as held, Events(held.cgroup, [trigger]) as events:
        held.hold(50)
        assert kinds(wait_for(events)) == ["threshold"]
        held.hold(30)  # above 25
        assert events.read() == []
        held.hold(50)
        assert events.read() == []
        held.hold(5)
        until(lambda: events.read() == [] and not events._sources[0].above)
        held.hold(50)
        assert kinds(wait_for(events)) == ["threshold"]


def test_hysteresis_must_leave_something_of_a_share():
    trigger = Trigger(source="threshold", fraction=0.5, hysteresis=10 * MIB)
    with (
        Cgroup.create("climits-deep", memory="20M") as group,
        pytest.raises(InvalidValueError) as caught,
    ):
        Events(group, [trigger])
    assert str(caught.value) == "hysteresis: 10.0M: not below the level of 10.0M"


def test_two_thresholds_fire_each_for_itself():
    wanted = triggers("threshold=20M", "threshold=40M", "threshold=20M")
    with Holder(memory="64M") as held, Events(held.cgroup, wanted) as events:
        held.hold(30)
        assert [e.level for e in wait_for(events)] == [20 * MIB]
        held.hold(50)
        assert [e.level for e in wait_for(events)] == [40 * MIB]


def test_a_share_of_no_limit_is_refused():
    with (
        Cgroup.create("climits-nolimit", memory="max") as group,
        pytest.raises(UnsupportedError) as caught,
    ):
        Events(group, triggers("threshold=50%"))
    assert (
        str(caught.value) == f"threshold=50%: {group.path} has no memory limit to take a share of"
    )


def test_who_may_only_look_polls(on_v1, monkeypatch):
    from climits.cgroup.memory.v1 import MemoryV1

    def refuse(self, level):
        raise CgroupPermissionError("no", errno=errno.EACCES)

    monkeypatch.setattr(MemoryV1, "watch_usage", refuse)
    with Holder(memory="64M") as held, Events(held.cgroup, triggers("threshold=32M")) as events:
        held.hold(40)
        assert kinds(wait_for(events)) == ["threshold"]


def test_swap_is_watched_where_it_is_accounted_for():
    with Holder(memory="40M", swap="max") as held:
        try:
            events = Events(held.cgroup, triggers("swap=5M"))
        except UnsupportedError as e:
            assert "does not account for swap" in str(e)
            pytest.skip("this kernel does not account for swap")
        with events, open("/proc/swaps") as swaps:
            assert events.read() == []
            if len(swaps.readlines()) == 1:
                pytest.skip("no swap is switched on")
            held.hold(60)
            [event] = wait_for(events)
            assert (event.kind, event.level) == ("swap", 5 * MIB)
            assert event.current >= 5 * MIB


# ---- the limit -----------------------------------------------------------------------------------


def test_an_oom_kill_is_told_with_its_count(hog):
    with climits.Process(
        [hog, "child", "alloc", "80", "end", "hold", "100000"], memory="60M"
    ) as p, Events(p.cgroup, triggers("oom")) as events:  # fmt: skip
        [event] = wait_for(events)
        assert (event.kind, event.count, event.limit) == ("oom", 1, 60 * MIB)
        assert p.cgroup.memory.events().oom_kill == 1
        # The counters' file may tell of the same kill once more; that is no second event.
        poll = select.poll()
        poll.register(events, select.POLLIN)
        while poll.poll(QUIET):
            assert events.read() == []
        p.kill()


def test_an_oom_kill_right_before_the_removal_is_told(hog):
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError as e:
        pytest.skip(f"the kernel log cannot be read: {e}")
    p = climits.Process([hog, "hold", "300", "alloc", "80"], memory="60M")
    group = Cgroup.open(p.cgroup.path)
    with Events(group, triggers("oom")) as events:
        p.wait()
        found = events.read()
    group.close()
    assert [(e.kind, e.count) for e in found] == [("oom", 1), ("removed", None)]
    assert p.result.verdict == "oom-killed"


@pytest.mark.parametrize("swap", ["0", "max"])
def test_hits_of_the_limit_are_told(hog, tmp_path, swap):
    words = [hog, "hold", "200", "file", str(tmp_path / "big"), "40", "hold", "100000"]
    with climits.Process(words, memory="20M", swap=swap) as p:
        try:
            events = Events(p.cgroup, triggers("limit"))
        except UnsupportedError as e:
            # v1, where memory and swap together are hit first: newer kernels do not count that.
            assert "does not count hits while the swap limit is 0" in str(e)
            assert swap == "0" and p.cgroup.memory.events().max is None
            p.kill()
            return
        with events:
            event = wait_for(events)[0]
        p.kill()
    assert event.kind == "limit" and event.count >= 1


def test_who_sleeps_at_the_limit_is_told(on_v1, hog):
    with climits.Process([hog, "alloc", "80"], memory="60M", on_oom="pause") as p:
        with Events(p.cgroup, triggers("under-oom", "oom")) as events:
            [event] = wait_for(events)
            assert (event.kind, event.limit) == ("under-oom", 60 * MIB)
            assert event.current >= 59 * MIB
        with Events(p.cgroup, triggers("under-oom")) as late:
            assert kinds(wait_for(late)) == ["under-oom"]
        p.kill()


def test_on_v2_nobody_sleeps_at_the_limit(on_v2):
    with (
        Cgroup.create("climits-awake", memory="20M") as group,
        pytest.raises(UnsupportedError, match="under-oom needs the memory controller on cgroup v1"),
    ):
        Events(group, triggers("under-oom"))


# ---- pressure ------------------------------------------------------------------------------------


def shortest_pressure(group):
    """The most sensitive trigger that this host takes."""
    for text in ("pressure=some 1ms/500ms", "pressure=some 1ms/2s"):
        try:
            Events(group, triggers(text)).close()
        except UnsupportedError as e:
            if "has no memory.pressure" in str(e) or "switched off" in str(e):
                pytest.skip(str(e))
            continue
        return text
    pytest.skip("no trigger is allowed here")


def test_pressure_is_told_inside_another_loop(hog, tmp_path):
    with Cgroup.create("climits-squeezed", memory="30M", swap="max") as group:
        text = shortest_pressure(group)
        with Events(group, triggers(text)) as events:
            assert is_quiet(events)
            # Page cache is reclaimed at the limit to make room for more; in the VM files are in
            # memory, but there is swap.
            load = "alloc 50" if IN_VM else f"file {tmp_path / 'big'} 60 alloc 80"
            words = f"while :; do {hog} {load}; done"
            child = subprocess.Popen(["sh", "-c", f"read go; {words}"], stdin=subprocess.PIPE)
            group.attach(child.pid)
            child.stdin.write(b"\n")
            child.stdin.close()
            try:
                found = [wait_for(events)[0] for _ in range(3)]
            finally:
                group.kill()
                child.wait()
            assert kinds(found) == ["pressure"] * 3
            assert found[0].trigger == parse_trigger(text)


def test_pressure_levels_of_v1(on_v1, hog, tmp_path):
    with (
        climits.Process(
            [hog, "hold", "300", "file", str(tmp_path / "big"), "100", "alloc", "60"],
            memory="20M",
        ) as p,
        Events(p.cgroup, triggers("pressure=low")) as events,
    ):
        found = wait_for(events)
        assert found[0].kind == "pressure" and found[0].trigger.share == "low"


def test_pressure_levels_of_v1_are_refused_on_v2(on_v2):
    with (
        Cgroup.create("climits-level", memory="20M") as group,
        pytest.raises(UnsupportedError, match="pressure low needs the memory controller on"),
    ):
        Events(group, triggers("pressure=low"))


def test_psi_is_refused_where_there_is_no_v2(layout):
    if layout.unified is not None:
        pytest.skip("there is a v2 hierarchy here")
    with (
        Cgroup.create("climits-psi", memory="20M") as group,
        pytest.raises(UnsupportedError) as caught,
    ):
        Events(group, triggers("pressure=some 150ms/1s"))
    assert "has no memory.pressure" in str(caught.value)
    assert "watch pressure low, medium or critical" in caught.value.hint


def test_times_that_the_kernel_does_not_take_are_refused_with_a_hint(layout):
    if layout.unified is None:
        pytest.skip("no v2 hierarchy here")
    with Cgroup.create("climits-times", memory="20M") as group:
        trigger = Trigger(source="pressure", share="some", stall=2.0, window=1.0)
        with pytest.raises(UnsupportedError) as caught:
            Events(group, [trigger])
        assert "the kernel refuses these times" in str(caught.value)
        assert "multiple of 2s" in caught.value.hint


# ---- coming and going ----------------------------------------------------------------------------


def test_the_first_to_come_and_the_last_to_go_are_told():
    with (
        Cgroup.create("climits-visited", memory="20M") as group,
        Events(group, triggers("populated", "empty")) as events,
    ):
        assert kinds(wait_for(events)) == ["empty"]  # holds already
        assert events.read() == []
        child = subprocess.Popen(["sleep", "1000"])
        group.attach(child.pid)
        assert kinds(wait_for(events)) == ["populated"]
        child.kill()
        child.wait()
        assert kinds(wait_for(events)) == ["empty"]


def test_the_removal_is_told_last_and_once():
    group = Cgroup.create("climits-removed", memory="20M")
    events = Events(group, triggers("threshold=10M", "empty"))
    poll = select.poll()
    poll.register(events, select.POLLIN)
    assert kinds(events.read()) == ["empty"]
    other = Cgroup.open(group.path)
    other.remove()
    [event] = wait_for(events)
    assert (event.kind, event.cgroup, event.trigger) == ("removed", group.path, None)
    assert events.removed
    assert events.read() == [] and poll.poll(QUIET) == []
    events.close()
    group.close()


def test_a_removal_before_the_first_look_is_told():
    group = Cgroup.create("climits-early", memory="20M")
    with Events(group, triggers("populated")) as events:
        Cgroup.open(group.path).remove()
        assert kinds(wait_for(events)) == ["removed"]
    group.close()


def test_one_that_is_made_anew_is_another():
    group = Cgroup.create("climits-anew", memory="20M")
    with Events(group, triggers("oom")) as events:
        Cgroup.open(group.path).remove()
        with Cgroup.create("climits-anew", memory="20M"):
            assert kinds(wait_for(events)) == ["removed"]
    group.close()


def test_the_removal_of_a_sibling_is_not_told():
    with (
        Cgroup.create("climits-stays", memory="20M") as group,
        Events(group, triggers("oom")) as events,
    ):
        Cgroup.create("climits-goes", memory="20M").remove()
        events.read()
        assert not events.removed
        assert is_quiet(events)


def test_without_inotify_the_removal_is_polled(monkeypatch):
    def refuse(parent):
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(events_module, "RemovalWatch", refuse)
    group = Cgroup.create("climits-polled", memory="20M")
    with Events(group, triggers("oom")) as events:
        assert events.read() == []
        Cgroup.open(group.path).remove()
        assert kinds(wait_for(events)) == ["removed"]
    group.close()


# ---- the descriptor ------------------------------------------------------------------------------


def notified(memory_v1, layout):
    """Sources that need no polling here."""
    texts = ["oom"]
    texts += ["threshold=15M", "under-oom", "pressure=critical"] if memory_v1 else ["limit"]
    if layout.unified:
        texts += ["populated", "pressure=some 1900ms/2s"]
    return triggers(*texts)


def test_nothing_wakes_us_while_nothing_happens(memory_v1, layout):
    with (
        Cgroup.create("climits-quiet", memory="20M") as group,
        Events(group, notified(memory_v1, layout)) as events,
    ):
        assert is_quiet(events)


def test_all_descriptors_are_given_back(memory_v1, layout):
    with Cgroup.create("climits-tidy", memory="20M") as group:
        wanted = notified(memory_v1, layout)
        Events(group, wanted).close()
        before = sorted(os.listdir("/proc/self/fd"))
        events = Events(group, wanted)
        assert len(os.listdir("/proc/self/fd")) > len(before)
        events.close()
        events.close()
        assert sorted(os.listdir("/proc/self/fd")) == before
        refused = "under-oom" if not memory_v1 else "threshold=50%"
        if memory_v1:
            group.memory.max = "max"
        with pytest.raises(UnsupportedError):
            Events(group, [*wanted, *triggers(refused)])
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_they_can_be_iterated_over_until_the_removal():
    group = Cgroup.create("climits-iterated", memory="20M")

    def visit():
        child = subprocess.Popen(["sleep", "0.2"])
        other = Cgroup.open(group.path)
        other.attach(child.pid)
        child.wait()
        other.remove()

    with Events(group, triggers("populated")) as events:
        thread = threading.Thread(target=visit)
        thread.start()
        assert kinds(events) == ["populated", "removed"]
        thread.join()
    group.close()


def test_asyncio_gets_them_too():
    group = Cgroup.create("climits-async", memory="20M")

    async def watch():
        found = []
        async for event in climits.aio.events(group.path, ["empty", "oom"]):
            found.append(event.kind)
            if event.kind == "empty":
                group.remove()
        return found

    assert asyncio.run(asyncio.wait_for(watch(), 30 * PATIENCE)) == ["empty", "removed"]


def test_asyncio_gives_all_back_when_it_is_left():
    with Cgroup.create("climits-left", memory="20M") as group:

        async def watch():
            source = climits.aio.events(group, ["empty"])
            async for event in source:
                assert event.kind == "empty"
                break
            await source.aclose()

        asyncio.run(watch())
        before = sorted(os.listdir("/proc/self/fd"))
        asyncio.run(watch())
        assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_cgroup_that_rests_can_be_watched(hog):
    with climits.Process(
        [hog, "child", "alloc", "80", "end", "hold", "100000"], memory="60M"
    ) as p, Events(p.cgroup, triggers("oom", "threshold=30M")) as events:  # fmt: skip
        p.cgroup.rest()
        assert set(kinds(wait_for(events, 2))) == {"oom", "threshold"}
        p.kill()


def test_the_events_of_a_process_end_with_it(hog):
    with climits.Process([hog, "alloc", "40", "exit", "3"], memory="64M") as p:
        kinds = [event.kind for event in p.events(*triggers("threshold=32M"))]
        assert p.result.returncode == 3  # it was waited for
    assert kinds[-1] == "removed" and kinds[:-1] in ([], ["threshold"])  # v2 may be too late
