"""What every memory controller keeps to, whatever its version.

One suite for a fake v1, a fake v2 and the memory controller of the machine that it runs on.
"""

import errno
import itertools
import os
import select
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climits import Cgroup
from climits.cgroup.files import Directory
from climits.cgroup.layout import current
from climits.cgroup.limits import make_limits
from climits.cgroup.memory import v1
from climits.cgroup.memory.v1 import MemoryV1
from climits.cgroup.memory.v2 import MemoryV2
from climits.errors import (
    CgroupError,
    CgroupGoneError,
    ClimitsError,
    InvalidValueError,
    LimitTooLowError,
    UnsupportedError,
)
from climits.linux import proc
from climits.records import MemoryEvents, MemoryLimits, MemoryUsage
from climits.units import MAX_BYTES, PAGE_SIZE, UNLIMITED, round_to_pages

from .fakes import FakeV1, FakeV2

M = 1024**2

HOG = """
import sys
sys.stdin.readline()
held = bytearray(b"x") * int(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""


class Fake:
    """A controller on a fake directory, and how its state is brought about."""

    def __init__(self, directory, backend):
        self.directory = directory
        self.memory = backend(directory)

    def use(self, anon):
        self.directory.use(anon=anon)

    def use_cache(self, size):
        self.directory.use(cache=size)

    def remove(self):
        self.directory.remove()


class Real:
    """A cgroup of this machine."""

    def __init__(self, group):
        self.group = group
        part = group.part("memory")
        self.directory = Directory(part.directory.path)
        self.memory = part.hierarchy.memory(self.directory)
        self._hogs = []

    def use(self, anon):
        """A process that holds so much, in the cgroup."""
        hog = subprocess.Popen(
            [sys.executable, "-S", "-c", HOG, str(anon)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._hogs.append(hog)
        self.group.attach(hog.pid)
        hog.stdin.write(b"go\n")
        hog.stdin.flush()
        assert hog.stdout.readline() == b"ready\n"

    def remove(self):
        self.end_hogs()
        self.group.remove()

    def end_hogs(self):
        while self._hogs:
            hog = self._hogs.pop()
            hog.kill()
            hog.communicate()


def real_group():
    """A new cgroup of this machine, or a skip that says why there is none."""
    hierarchy = current().find("memory")
    if hierarchy is None:
        pytest.skip("no mounted hierarchy has the memory controller")
    try:
        return Cgroup.create(f"climits-contract-{os.getpid()}")
    except ClimitsError as e:
        pytest.skip(f"no cgroup can be made here: {e}")


FAKES = {
    "fake-v1": lambda: Fake(FakeV1(), MemoryV1),
    "fake-v2": lambda: Fake(FakeV2(), MemoryV2),
    "fake-v1-without-memsw": lambda: Fake(FakeV1(memsw=False), MemoryV1),
    "fake-v2-without-swap": lambda: Fake(FakeV2(swap=False), MemoryV2),
}
WITH_SWAP = ["fake-v1", "fake-v2"]


def make(kind, monkeypatch):
    """A subject; what it needs of the machine is undone at the end."""
    monkeypatch.setattr(v1, "_memsw", None)  # what a fake kernel has is not what this one has
    if kind != "real":
        monkeypatch.setattr(proc, "swap_is_active", lambda: False)
        yield FAKES[kind]()
        return
    group = real_group()
    real = Real(group)
    try:
        yield real
    finally:
        real.end_hogs()
        group.remove()
        real.directory.close()


@pytest.fixture(params=[*FAKES, "real"])
def subject(request, monkeypatch):
    yield from make(request.param, monkeypatch)


@pytest.fixture(params=FAKES)
def fake(request, monkeypatch):
    yield from make(request.param, monkeypatch)


@pytest.fixture
def memory(subject):
    return subject.memory


@pytest.fixture(params=[*WITH_SWAP, "real"])
def swapping(request, monkeypatch):
    """The memory of a cgroup whose kernel accounts for swap."""
    for subject in make(request.param, monkeypatch):
        if subject.memory.limits().swap_max is None:
            pytest.skip("this kernel does not account for swap")
        yield subject.memory


def is_v1(subject):
    return isinstance(subject.memory, MemoryV1)


# ---- a new cgroup --------------------------------------------------------------------------


def test_a_new_cgroup_has_no_limits(memory):
    limits = memory.limits()
    assert limits.max == UNLIMITED
    assert limits.swap_max in (UNLIMITED, None)
    assert MemoryLimits(max=UNLIMITED, swap_max=UNLIMITED) == memory.UNTOUCHED


# ---- setting and reading back --------------------------------------------------------------

SIZES = [0, PAGE_SIZE, M, 60 * M, 2**40, UNLIMITED]


@pytest.mark.parametrize("untouched", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_max_is_read_back(memory, size, untouched):
    memory.set(MemoryLimits(max=size), untouched=untouched)
    assert memory.max == size == memory.limits().max


@pytest.mark.parametrize(
    ("text", "size"),
    [("60M", 60 * M), ("1.5G", 1536 * M), ("max", UNLIMITED), (UNLIMITED, UNLIMITED), (M, M)],
)
def test_the_property_takes_what_a_person_writes(memory, text, size):
    memory.max = text
    assert memory.max == size


@pytest.mark.parametrize("text", ["60MB", "-1", "", "18446744073709551616", "50%", None, 1.5])
def test_what_is_no_size_never_reaches_the_kernel(memory, text):
    memory.max = "60M"
    with pytest.raises(InvalidValueError, match=r"memory\.max"):
        memory.max = text
    assert memory.max == 60 * M


@pytest.mark.parametrize("size", [12345, PAGE_SIZE + 1, 2 * PAGE_SIZE - 1])
def test_a_size_is_rounded_down_to_pages(memory, size):
    memory.max = size
    assert memory.max == size // PAGE_SIZE * PAGE_SIZE


@pytest.mark.parametrize("size", [0, PAGE_SIZE, M, UNLIMITED])
def test_low_is_read_back(memory, size):
    memory.low = size
    assert memory.low == size == memory.limits().low
    assert memory.max == UNLIMITED


@pytest.mark.parametrize("size", [0, PAGE_SIZE, M, UNLIMITED])
def test_swap_max_is_read_back(swapping, size):
    swapping.set(MemoryLimits(max=M, swap_max=size), untouched=True)
    assert (swapping.max, swapping.swap_max) == (M, size)


@pytest.mark.parametrize("pair", list(itertools.product([M, 60 * M, UNLIMITED], repeat=2)))
def test_the_limit_can_be_raised_and_lowered(memory, pair):
    for size in (*pair, *reversed(pair)):
        memory.max = size
        assert memory.max == size


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        itertools.product(
            [(M, 0), (2 * M, M), (4 * M, UNLIMITED), (UNLIMITED, UNLIMITED)], repeat=2
        )
    ),
)
def test_max_and_swap_can_change_together(swapping, first, second):
    for limit, extra in (first, second, first):
        swapping.set(MemoryLimits(max=limit, swap_max=extra))
        assert (swapping.max, swapping.swap_max) == (limit, extra)


@pytest.mark.parametrize("extra", [0, PAGE_SIZE, M, UNLIMITED])
@pytest.mark.parametrize("limit", [PAGE_SIZE, M, 60 * M])
def test_the_swap_allowance_stays_when_max_changes(swapping, limit, extra):
    swapping.set(MemoryLimits(max=10 * M, swap_max=extra))
    swapping.max = limit
    assert (swapping.max, swapping.swap_max) == (limit, extra)


def test_max_stays_when_swap_changes(swapping):
    swapping.set(MemoryLimits(max=10 * M, swap_max=0))
    for extra in (M, UNLIMITED, PAGE_SIZE, 0):
        swapping.swap_max = extra
        assert (swapping.max, swapping.swap_max) == (10 * M, extra)


def test_undoing_a_limit(swapping):
    swapping.set(MemoryLimits(max=10 * M, swap_max=0))
    swapping.set(MemoryLimits(max=UNLIMITED, swap_max=UNLIMITED))
    assert (swapping.max, swapping.swap_max) == (UNLIMITED, UNLIMITED)


def test_a_wish_of_nothing_changes_nothing(memory):
    memory.set(MemoryLimits(max=10 * M))
    before = memory.limits()
    memory.set(MemoryLimits())
    assert memory.limits() == before


@pytest.mark.parametrize("kind", WITH_SWAP)
@settings(deadline=None, database=None, max_examples=100, derandomize=True)
@given(data=st.data())
def test_whatever_is_wished_for_one_after_the_other_is_kept(kind, data):
    v1._memsw = None
    memory = FAKES[kind]().memory
    sizes = st.sampled_from([None, 0, PAGE_SIZE, 5000, M, 2 * M, 2**62, UNLIMITED])
    limit = swap = UNLIMITED
    for new_limit, new_swap in data.draw(st.lists(st.tuples(sizes, sizes), max_size=6)):
        after = limit if new_limit is None else round_to_pages(new_limit)
        try:
            memory.set(MemoryLimits(max=new_limit, swap_max=new_swap))
        except UnsupportedError:
            assert kind == "fake-v1" and after == UNLIMITED
            assert new_swap not in (None, UNLIMITED)
        else:
            limit = after
            swap = swap if new_swap is None else round_to_pages(new_swap)
            if kind == "fake-v1" and limit + swap >= MAX_BYTES:
                swap = UNLIMITED  # one counter for both: beyond what it can hold
        assert (memory.max, memory.swap_max) == (limit, swap)
    v1._memsw = None


def test_the_default_wish_of_a_run_can_be_kept_everywhere(memory):
    memory.set(make_limits(memory="60M").memory, untouched=True)
    assert memory.max == 60 * M
    assert memory.swap_max in (0, None)


def test_no_limit_at_all_can_be_wished_for(memory):
    memory.set(make_limits(memory="max").memory, untouched=True)
    assert memory.max == UNLIMITED


def test_a_value_that_the_kernel_did_not_keep_is_an_error(fake):
    file = "memory.limit_in_bytes" if is_v1(fake) else "memory.max"
    fake.directory._store = lambda name, text: fake.directory.files.update({file: 3 * M})
    with pytest.raises(CgroupError) as caught:
        fake.memory.set(MemoryLimits(max=60 * M))
    path = f"{fake.directory.path}/{file}"
    assert str(caught.value) == f"{path}: the kernel kept 3.0M instead of 60.0M"
    assert caught.value.value == 60 * M


# ---- below what is in use ------------------------------------------------------------------


def test_a_limit_below_usage_is_refused_with_the_figures(subject):
    memory = subject.memory
    memory.set(MemoryLimits(max=64 * M, swap_max=0), untouched=True)
    if memory.limits().swap_max is None and isinstance(subject, Real):
        pytest.skip("without swap accounting what is in use may be swapped out")
    subject.use(32 * M)
    with pytest.raises(LimitTooLowError) as caught:
        memory.max = 8 * M
    text = str(caught.value)
    assert text.startswith(f"{subject.directory.path}: cannot lower the limit to 8.0M: ")
    assert text.endswith(" is in use and cannot be reclaimed")
    assert "M is in use" in text
    assert caught.value.value == 8 * M and caught.value.hint
    assert memory.max == 64 * M
    assert not memory.events().oom_kill


def test_a_limit_above_usage_is_taken(subject):
    subject.memory.set(MemoryLimits(max=64 * M, swap_max=0), untouched=True)
    subject.use(8 * M)
    subject.memory.max = 48 * M
    assert subject.memory.max == 48 * M


def test_what_can_be_reclaimed_does_not_stand_in_the_way(fake):
    fake.use(4 * M)
    fake.use_cache(100 * M)
    fake.memory.max = 8 * M
    assert fake.memory.max == 8 * M
    assert fake.directory.anon == 4 * M and fake.directory.cache <= 4 * M


def test_force_lowers_the_limit_whatever_happens(fake):
    fake.use(32 * M)
    if is_v1(fake):  # this kernel never kills for a write: its no stands
        with pytest.raises(LimitTooLowError):
            fake.memory.set(MemoryLimits(max=8 * M), force=True)
        return
    fake.memory.set(MemoryLimits(max=8 * M), force=True)
    assert fake.memory.max == 8 * M and fake.memory.events().oom_kill == 1


# ---- what cannot be had --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["high", "min"])
def test_marks_are_set_or_refused_by_name(subject, name):
    memory = subject.memory
    if is_v1(subject):
        with pytest.raises(UnsupportedError, match=rf"memory\.{name} needs .* cgroup v2") as caught:
            setattr(memory, name, M)
        assert caught.value.hint
        assert getattr(memory, name) is None
    else:
        for size in (M, UNLIMITED, 0):
            setattr(memory, name, size)
            assert getattr(memory, name) == size


def test_swappiness_is_set_or_refused_by_name(subject):
    memory = subject.memory
    if is_v1(subject):
        memory.set(MemoryLimits(swappiness=7))
        assert memory.limits().swappiness == 7
    else:
        with pytest.raises(UnsupportedError, match=r"memory\.swappiness needs .* cgroup v1"):
            memory.set(MemoryLimits(swappiness=7))
        assert memory.limits().swappiness is None


def test_pausing_is_what_the_capability_says(memory):
    wish = MemoryLimits(oom_pause=True)
    if memory.can_pause_on_oom:
        memory.set(wish)
        assert memory.limits().oom_pause is True
        memory.set(MemoryLimits(oom_pause=False))
        assert memory.limits().oom_pause is False
        assert memory.under_oom() is False
    else:
        with pytest.raises(UnsupportedError, match="pausing at the limit"):
            memory.set(wish)
        assert memory.limits().oom_pause is None
        assert memory.under_oom() is None


def test_killing_the_group_is_set_or_refused(memory):
    wish = MemoryLimits(oom_group=True)
    if memory.limits().oom_group is None:
        with pytest.raises(UnsupportedError, match=r"memory\.oom\.group needs .* v2"):
            memory.set(wish)
        return
    assert memory.limits().oom_group is False
    memory.set(wish)
    assert memory.limits().oom_group is True


def test_a_refused_wish_changes_nothing(subject):
    memory = subject.memory
    before = memory.limits()
    wish = MemoryLimits(high=M) if is_v1(subject) else MemoryLimits(swappiness=7)
    with pytest.raises(UnsupportedError):
        memory.set(wish.replace(max=M))
    assert memory.limits() == before


@pytest.mark.parametrize("subject", ["real"], indirect=True)
def test_watching_for_oom(subject):
    fd = subject.memory.watch_oom()
    try:
        assert not os.get_inheritable(fd)
        poll = select.poll()
        poll.register(fd, subject.memory.OOM_MASK)
        subject.memory.drain_oom(fd)
        assert poll.poll(0) == []
    finally:
        os.close(fd)


# ---- looking -------------------------------------------------------------------------------


def figures(record):
    return {name: getattr(record, name) for name in type(record).__annotations__}


@pytest.mark.parametrize("busy", [False, True])
def test_figures_are_ints_or_none(subject, busy):
    if busy:
        subject.use(8 * M)
    usage, events = subject.memory.usage(), subject.memory.events()
    assert type(usage) is MemoryUsage and type(events) is MemoryEvents
    for name, value in (figures(usage) | figures(events)).items():
        assert value is None or (type(value) is int and value >= 0), name
    assert type(subject.memory.current()) is int


def test_limits_are_ints_or_unlimited_or_none(subject):
    for name in ("max", "high", "low", "min", "swap_max"):
        value = getattr(subject.memory.limits(), name)
        assert value is None or value == UNLIMITED or (type(value) is int and value >= 0), name


def test_nothing_is_used_and_nothing_has_happened_at_first(memory):
    usage, events = memory.usage(), memory.events()
    assert usage.current == usage.anon == 0
    assert usage.peak in (0, None)
    assert events.oom_kill == 0 and events.max in (0, None)


def test_usage_is_told_by_kind(subject):
    subject.use(8 * M)
    usage = subject.memory.usage()
    # A real kernel adds its per-CPU counters up now and then only.
    assert 7 * M <= usage.anon <= 24 * M
    assert usage.current >= 7 * M
    assert usage.peak is None or usage.peak >= 7 * M
    assert usage.file is not None and usage.shmem == 0


def test_page_cache_is_no_anonymous_memory(fake):
    fake.use_cache(5 * M)
    usage = fake.memory.usage()
    assert (usage.current, usage.anon, usage.file) == (5 * M, 0, 5 * M)


def test_the_report_is_usage_events_and_limits_in_one(memory):
    memory.set(MemoryLimits(max=60 * M, swap_max=0), untouched=True)
    peak, oom_kill, details = memory.report()
    usage, events, limit, swap_max = details()
    assert usage == memory.usage() and peak == usage.peak
    assert events == memory.events() and oom_kill == events.oom_kill
    limits = memory.limits()
    assert (limit, swap_max) == (limits.max, limits.swap_max) and limit == 60 * M


def test_the_report_of_no_limit(memory):
    _, _, details = memory.report()
    _, _, limit, swap_max = details()
    assert limit == UNLIMITED and swap_max in (UNLIMITED, None)


# ---- the end of the cgroup -----------------------------------------------------------------


def test_a_removed_cgroup_is_gone_for_every_method(subject):
    memory = subject.memory
    subject.remove()
    for use in (
        memory.limits, memory.usage, memory.events, memory.report, memory.current,
        lambda: memory.max, lambda: memory.set(MemoryLimits(max=M)),
        lambda: memory.set(MemoryLimits(max=M), untouched=True),
        lambda: memory.set(MemoryLimits(max=M), force=True),
    ):  # fmt: skip
        with pytest.raises(CgroupGoneError, match="the cgroup was removed"):
            use()


def test_a_file_that_no_kernel_has_is_an_error_and_not_a_removal(subject):
    directory = subject.directory
    with pytest.raises(CgroupError) as caught:
        directory.read("memory.nonsense")
    assert type(caught.value) is CgroupError and caught.value.errno == errno.ENOENT
    assert directory.read_optional("memory.nonsense") is None
    assert not directory.has("memory.nonsense")
    assert directory.read_many(("memory.nonsense",)) == [None]
    with pytest.raises(CgroupError):
        directory.write("memory.nonsense", "1")


@pytest.mark.parametrize("text", ["1.5G", "10MB", "abc", "-5"])
def test_what_the_kernel_refuses_is_told_with_file_and_value(subject, text):
    file = "memory.limit_in_bytes" if is_v1(subject) else "memory.max"
    with pytest.raises(CgroupError) as caught:
        subject.directory.write(file, text)
    assert caught.value.errno == errno.EINVAL
    assert str(caught.value) == (
        f"cannot write {text}: {subject.directory.path}/{file}: the kernel refuses the value"
    )
    assert caught.value.value == text
