"""The sampler on a real kernel, of whatever layout."""

import os
import resource
import subprocess
import sys
import time

import pytest
from support import PATIENCE, until

from climits.cgroup import files
from climits.cgroup.layout import Layout, current
from climits.errors import CgroupGoneError, CgroupPermissionError, UnsupportedError
from climits.observe.sampler import Sampler
from climits.units import UNLIMITED

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60 * PATIENCE)
#: Takes memory of several kinds, says so, and holds it: MiB of heap, of page cache.
HOLD = """
import os, sys
heap = bytearray(int(sys.argv[1]) << 20)
for at in range(0, len(heap), 4096):
    heap[at] = 1
name = sys.argv[3]
with open(name, "wb") as file:
    file.write(bytes(int(sys.argv[2]) << 20))
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def groups(groups):
    """groups(name, **limits) makes /climits/climits-NAME."""
    return lambda name, **limits: groups(f"climits-{name}", **limits)


@pytest.fixture
def sampler():
    with Sampler() as made:
        yield made


@pytest.fixture
def hold(tmp_path):
    """hold(group, heap, cache) runs a program that holds so many MiB of each."""
    started = []

    def start(group, heap, cache):
        name = tmp_path / f"file{len(started)}"
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", f"input()\n{HOLD}", str(heap), str(cache), str(name)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        group.attach(child.pid)
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"holding\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


# ---- figures -------------------------------------------------------------------------------


def test_a_sample_agrees_with_the_cgroup_itself(groups, sampler, hold):
    group = groups("kinds", memory="200M", swap=0)
    child = hold(group, 24, 6)
    sampler.add(group.path)
    sample = sampler.sample()[group.path]
    usage, limits, events = group.memory.usage(), group.memory.limits(), group.memory.events()
    slack = 2 * MIB  # counters are written in batches
    for name, figure in (
        ("current", usage.current), ("peak", usage.peak), ("anon", usage.anon),
        ("file", usage.file), ("shmem", usage.shmem), ("kernel", usage.kernel),
    ):  # fmt: skip
        if figure is None:
            assert getattr(sample, name) is None
        else:
            assert abs(getattr(sample, name) - figure) <= slack, name
    assert sample.anon >= 20 * MIB and sample.current >= 24 * MIB
    assert (sample.max, sample.swap_max) == (limits.max, limits.swap_max)
    assert sample.max == 200 * MIB
    assert (sample.high, sample.oom_kill) == (limits.high, events.oom_kill)
    assert sample.swap in (usage.swap_current, 0)
    assert sample.pids == 1
    assert sample.stat["pgfault"] > 0
    assert child.poll() is None


def test_each_sample_is_new_and_keeps_what_it_has(groups, sampler, hold):
    group = groups("moves", memory="200M", swap=0)
    sampler.add(group.path)
    before = sampler.sample()[group.path]
    hold(group, 16, 0)
    after = sampler.sample()[group.path]
    assert after.current - before.current >= 14 * MIB  # worked out only now
    assert after.time > before.time
    group.memory.max = "300M"
    assert sampler.sample()[group.path].max == 300 * MIB
    assert after.max == 200 * MIB


def test_cpu_time_grows_and_pressure_is_a_time(groups, sampler):
    group = groups("cpu")
    sampler.add(group.path)
    child = subprocess.Popen([sys.executable, "-I", "-c", "while True: pass"])
    try:
        group.attach(child.pid)
        before = sampler.sample()[group.path]
        if before.cpu is None:
            pytest.skip("nothing counts CPU time for this cgroup here")
        until(lambda: sampler.sample()[group.path].cpu > before.cpu)
        assert sampler.sample()[group.path].cpu < 60 * PATIENCE
        if before.pressure_some is not None:
            assert 0 <= before.pressure_full <= before.pressure_some
    finally:
        child.kill()
        child.wait()


def test_an_oom_kill_is_counted(groups, sampler, hog):
    group = groups("oom", memory="20M", swap=0)
    sampler.add(group.path)
    assert sampler.sample()[group.path].oom_kill == 0
    with subprocess.Popen(
        ["sh", "-c", 'read go; exec "$@"', "sh", hog, "alloc", "100"], stdin=subprocess.PIPE
    ) as p:
        group.attach(p.pid)
        p.stdin.write(b"\n")
        p.stdin.close()
        p.wait()
    assert sampler.sample()[group.path].oom_kill == group.memory.events().oom_kill == 1


def test_tasks_below_count_and_threads_do(groups, sampler):
    outer, inner = groups("tasks"), groups("tasks/inner")
    code = "import threading\nfor _ in range(3): threading.Thread(target=input).start()\n"
    child = subprocess.Popen([sys.executable, "-I", "-c", code], stdin=subprocess.PIPE)
    try:
        inner.attach(child.pid)
        sampler.scan(outer.path)
        until(lambda: sampler.sample()[inner.path].pids == 4)
        assert sampler.sample()[outer.path].pids == 4
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
    until(lambda: sampler.sample()[outer.path].pids == 0)


def test_a_list_of_tasks_longer_than_one_read_is_counted(groups, sampler):
    group = groups("many")
    code = (
        "import threading; threading.stack_size(65536)\n"
        "for _ in range(899): threading.Thread(target=input, daemon=True).start()\n"
        "print(1, flush=True); input()"
    )
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", f"input()\n{code}"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        group.attach(child.pid)
        sampler.add(group.path)
        child.stdin.write(b"\n")
        child.stdin.flush()
        child.stdout.readline()
        assert sampler.sample()[group.path].pids == 900
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()


def test_the_root_can_be_sampled(sampler):
    sampler.add("/")
    sample = sampler.sample()["/"]
    assert sample.path == "/"
    assert sample.anon > 0 and sample.pids > 0


# ---- what comes and goes -------------------------------------------------------------------


def test_scan_follows_a_tree(groups, sampler):
    top = groups("tree")
    groups("tree/a")
    assert sampler.scan(top.path) == ([top.path, f"{top.path}/a"], [])
    assert sampler.scan(top.path) == ([], [])
    deep = groups("tree/a/deep")
    assert sampler.scan(top.path) == ([deep.path], [])
    assert sampler.paths == [top.path, f"{top.path}/a", deep.path]
    deep.remove()
    assert deep.path not in sampler.sample()
    assert sampler.scan(top.path) == ([], [deep.path])
    assert sampler.scan(top.path) == ([], [])


def test_what_vanishes_between_two_scans_is_told(groups, sampler):
    top, child = groups("vanish"), groups("vanish/child")
    sampler.scan(top.path)
    child.remove()
    assert sampler.scan(top.path) == ([], [child.path])
    assert list(sampler.sample()) == [top.path]


@pytest.mark.parametrize("sampled_between", [True, False])
def test_one_made_anew_under_its_name_is_another(groups, sampler, sampled_between):
    top = groups("anew")
    child = groups("anew/child")
    sampler.scan(top.path)
    child.remove()
    again = groups("anew/child")
    if sampled_between:
        assert again.path not in sampler.sample()
    assert sampler.scan(top.path) == ([again.path], [again.path])
    assert sampler.sample()[again.path].max == UNLIMITED


def test_a_scan_leaves_alone_what_lies_outside(groups, sampler):
    one, other = groups("one"), groups("one-more")
    sampler.add(other.path)
    assert sampler.scan(one.path) == ([one.path], [])
    other.remove()
    assert sampler.scan(one.path) == ([], [])
    assert sampler.scan(other.path) == ([], [other.path])


def test_one_that_comes_later_in_another_hierarchy_is_the_same(groups, sampler):
    layout = current()
    pids, memory = layout.find("pids"), layout.holding("memory")
    if pids is None or pids is memory:
        pytest.skip("pids has no hierarchy of its own here")
    top = groups("later")
    sampler.scan(top.path)
    directory = pids.directory_path(top.path)
    made = [d for d in (os.path.dirname(directory), directory) if not os.path.exists(d)]
    for each in made:
        files.make(each)
    try:
        assert sampler.scan(top.path) == ([], [])
        assert sampler.sample()[top.path].pids == 0
    finally:
        for each in reversed(made):
            files.remove(each)
    assert sampler.sample()[top.path].pids is None  # until the next scan
    assert sampler.scan(top.path) == ([], [])
    assert sampler.sample()[top.path].pids == 0


def test_adding_what_is_not_there_is_refused(sampler):
    with pytest.raises(CgroupGoneError, match="no such cgroup: /climits/climits-nothing"):
        sampler.add("/climits/climits-nothing")
    assert sampler.paths == [] and sampler.sample() == {}


def test_discarding_closes_its_descriptors(groups, sampler):
    group = groups("discard")
    before = descriptors()
    sampler.add(group.path)
    sampler.add(f"{group.path}/")
    assert descriptors() > before and sampler.paths == [group.path]
    sampler.discard(group.path)
    assert descriptors() == before and sampler.sample() == {}


def test_closing_gives_all_back(groups):
    group = groups("close")
    before = descriptors()
    sampler = Sampler()
    sampler.add(group.path)
    sampler.close()
    sampler.close()
    assert descriptors() == before and sampler.paths == []


def test_without_a_cgroup_filesystem_there_is_nothing_to_sample():
    with Sampler(Layout([])) as sampler, pytest.raises(UnsupportedError, match="no cgroup file"):
        sampler.scan()


def test_nothing_that_races_with_a_sample_breaks_it(groups, sampler):
    """Cgroups are made and removed all the time, while others are scanned and sampled."""
    top = groups("race")
    memory = current().holding("memory")
    code = (
        "import os, sys, time\n"
        "print(1, flush=True)\n"
        "while True:\n"
        "    for n in range(5): os.mkdir(f'{sys.argv[1]}/climits-{n}')\n"
        "    time.sleep(0.001)\n"
        "    for n in range(5): os.rmdir(f'{sys.argv[1]}/climits-{n}')\n"
    )
    directory = memory.directory_path(top.path)
    child = subprocess.Popen([sys.executable, "-I", "-c", code, directory], stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        assert sampler.scan(top.path)[0][0] == top.path
        seen = set()

        def look():
            came, went = sampler.scan(top.path)
            seen.update(came)
            assert top.path in sampler.sample()
            assert not (set(went) - set(came)) & set(sampler.paths)
            return len(seen) > 2

        until(look)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        for n in range(5):
            files.remove(f"{directory}/climits-{n}")


# ---- descriptors and rights ----------------------------------------------------------------


def in_a_child(code):
    """Run code in a process of its own, whose limits may be changed."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            code()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_soft_limit_is_raised_and_put_back(groups):
    top = groups("soft")
    for n in range(30):
        groups(f"soft/climits-{n}")

    def run():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (260, hard))
        with Sampler() as sampler:
            assert len(sampler.scan(top.path)[0]) == 31
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            assert soft > 260
            assert descriptors() > 31 * 5
            assert len(sampler.sample()) == 31
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (260, hard)

    in_a_child(run)


def test_where_descriptors_end_the_rest_is_read_anew(groups):
    top = groups("hard", memory="64M", swap=0)
    for n in range(30):
        groups(f"hard/climits-{n}")

    def run():
        before = descriptors()
        most = max(map(int, os.listdir("/proc/self/fd"))) + 1 + 60 + 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        with Sampler() as sampler:
            assert len(sampler.scan(top.path)[0]) == 31
            assert before < descriptors() <= most - 256
            samples = sampler.sample()
            assert len(samples) == 31
            assert samples[top.path].max == 64 * MIB
            last = samples[max(samples)]
            assert last.current is not None and last.max == UNLIMITED and last.pids == 0
            for directory in gone:
                files.remove(directory)
            assert len(sampler.sample()) == 30
            assert sampler.scan(top.path)[1] == [f"{top.path}/climits-9"]

    layout = current()
    directories = [h.directory_path(f"{top.path}/climits-9") for h in layout.hierarchies]
    gone = [each for each in directories if os.path.isdir(each)]
    in_a_child(run)


def test_none_are_left_when_others_hold_them_all(groups):
    group = groups("emfile")

    def run():
        resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
        with Sampler() as sampler:
            taken = []
            while len(taken) < 300:
                try:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
                except OSError:
                    break
            for fd in taken[-3:]:
                os.close(fd)
            sampler.add(group.path)
            assert sampler.sample()[group.path].current is not None

    in_a_child(run)


def test_samplers_leave_the_rest_of_the_process_its_share(groups):
    """Each sees what the others hold."""
    paths = [groups(f"share{n}").path for n in range(20)]

    def run():
        most = max(map(int, os.listdir("/proc/self/fd"))) + 1 + 60 + 256
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        with Sampler() as one, Sampler() as other:
            for sampler in (one, other):
                for path in paths:
                    sampler.add(path)
                assert sampler.sample().keys() == set(paths)
            assert len(os.listdir("/proc/self/fd")) <= most - 256

    in_a_child(run)


def test_tasks_below_are_counted_whether_they_are_sampled_or_not(groups, sampler, hold):
    top = groups("tasks")
    below = [groups(f"tasks/{name}") for name in ("one", "two")]
    for group in below:
        hold(group, 1, 0)
    sampler.add(top.path)
    assert sampler.sample()[top.path].pids == 2
    sampler.add(below[0].path)
    samples = sampler.sample()
    assert (samples[top.path].pids, samples[below[0].path].pids) == (2, 1)
    assert sampler.sample([below[0].path]).keys() == {below[0].path}


def test_what_may_not_be_read_is_skipped(groups):
    top = groups("rights")
    groups("rights/open")
    closed = groups("rights/closed")
    for part in closed.parts:
        os.chmod(part.directory.path, 0o700)

    def run():
        os.setgid(65534)
        os.setuid(65534)
        with Sampler() as sampler:
            assert sampler.scan(top.path)[0] == [top.path, f"{top.path}/open"]
            assert list(sampler.skipped) == [closed.path]
            assert sampler.skipped[closed.path].endswith("permission denied")
            assert list(sampler.sample()) == [top.path, f"{top.path}/open"]
            with pytest.raises(CgroupPermissionError):
                sampler.add(closed.path)
            assert sampler.scan(top.path) == ([], [])

    in_a_child(run)


def test_sampling_takes_no_longer_than_it_must(groups, sampler):
    """Not a measure: benchmarks/sampler.py is.  A cgroup costs its reads and little else."""
    top = groups("cost")
    for n in range(20):
        groups(f"cost/climits-{n}")
    sampler.scan(top.path)
    calls = []
    original = os.pread
    os.pread = lambda *args: calls.append(args) or original(*args)
    try:
        before = time.monotonic()
        samples = sampler.sample()
        assert samples[top.path].time >= before
    finally:
        os.pread = original
    assert len(calls) == sum(len(sample._raw) for sample in samples.values())
