"""Which writes a wish becomes, and that the kernel would take them in that order."""

import itertools

import pytest

from climits.cgroup.memory import limit_text, parse_limit, v1
from climits.cgroup.memory.v1 import MemoryV1
from climits.cgroup.memory.v2 import MemoryV2
from climits.errors import UnsupportedError
from climits.linux import proc
from climits.records import MemoryLimits
from climits.units import MAX_BYTES, PAGE_SIZE, UNLIMITED

M = 1024**2
LIMIT, MEMSW = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"


class Files:
    """As much of a Directory as `writes` looks at: which files there are."""

    path = "/m/web"

    def __init__(self, *names):
        self.names = names

    def has(self, name):
        return name in self.names


@pytest.fixture(autouse=True)
def unknown_kernel(monkeypatch):
    monkeypatch.setattr(v1, "_memsw", None)


def new_v1(*, memsw=True):
    return MemoryV1(Files(LIMIT, *([MEMSW] if memsw else [])))


def new_v2(*, swap=True):
    return MemoryV2(Files("memory.max", *(["memory.swap.max"] if swap else [])))


# ---- the order on v1 -----------------------------------------------------------------------


class Kernel:
    """The two limits of v1 and the kernel's rule: memsw is never below limit."""

    def __init__(self, limit, memsw):
        self.state = {LIMIT: limit, MEMSW: memsw}

    def write(self, file, text):
        assert file in self.state
        value = UNLIMITED if text == "-1" else int(text)
        self.state[file] = value
        assert self.state[MEMSW] >= self.state[LIMIT], f"EINVAL: {file} = {text}"


def states():
    """(limit, swap) that a cgroup can be in."""
    return [
        (limit, swap)
        for limit, swap in itertools.product([0, M, 2 * M, UNLIMITED], [0, M, 2 * M, UNLIMITED])
        if limit != UNLIMITED or swap == UNLIMITED
    ]


@pytest.mark.parametrize("old", states())
def test_memsw_is_never_below_the_limit(old):
    old_limit, old_swap = old
    memory = new_v1()
    now = MemoryLimits(max=old_limit, swap_max=old_swap)
    sizes = [None, 0, M, 2 * M, UNLIMITED]
    for limit, swap in itertools.product(sizes, sizes):
        wish = MemoryLimits(max=limit, swap_max=swap)
        new_limit = old_limit if limit is None else limit
        if new_limit == UNLIMITED and swap not in (None, UNLIMITED):
            with pytest.raises(UnsupportedError, match="a swap limit needs a memory limit on"):
                memory.writes(wish, now)
            continue
        kernel = Kernel(old_limit, old_limit + old_swap)
        for file, text, expected in memory.writes(wish, now):
            kernel.write(file, text)
            assert kernel.state[file] == expected, wish
        new_swap = old_swap if swap is None else swap
        assert kernel.state == {LIMIT: new_limit, MEMSW: new_limit + new_swap}, wish


@pytest.mark.parametrize(
    ("wish", "writes"),
    [
        (MemoryLimits(), []),
        (MemoryLimits(max=M), [(LIMIT, str(M)), (MEMSW, "-1")]),
        (MemoryLimits(max=M, swap_max=0), [(LIMIT, str(M)), (MEMSW, str(M))]),
        (MemoryLimits(max=M, swap_max=M), [(LIMIT, str(M)), (MEMSW, str(2 * M))]),
        (MemoryLimits(max=UNLIMITED), [(MEMSW, "-1"), (LIMIT, "-1")]),
        (MemoryLimits(swap_max=UNLIMITED), [(MEMSW, "-1")]),
        (MemoryLimits(max=12345), [(LIMIT, str(12345 // PAGE_SIZE * PAGE_SIZE)), (MEMSW, "-1")]),
        (MemoryLimits(max=0, swap_max=0), [(LIMIT, "0"), (MEMSW, "0")]),
        (MemoryLimits(max=MAX_BYTES - 1, swap_max=MAX_BYTES - 1), [
            (LIMIT, str(MAX_BYTES - PAGE_SIZE)), (MEMSW, "-1"),
        ]),
        (MemoryLimits(low=5 * M), [("memory.soft_limit_in_bytes", str(5 * M))]),
        (MemoryLimits(low=UNLIMITED), [("memory.soft_limit_in_bytes", "-1")]),
        (MemoryLimits(swappiness=0), [("memory.swappiness", "0")]),
        (MemoryLimits(oom_pause=True), [("memory.oom_control", "1")]),
        (MemoryLimits(oom_pause=False), [("memory.oom_control", "0")]),
    ],
)  # fmt: skip
def test_the_writes_of_v1_into_a_new_cgroup(wish, writes):
    out = new_v1().writes(wish, MemoryV1.UNTOUCHED)
    assert [(file, text) for file, text, _ in out] == writes


def test_what_can_be_read_back_is():
    wish = MemoryLimits(max=12345, swap_max=0, low=12345, swappiness=5, oom_pause=True)
    rounded = 12345 // PAGE_SIZE * PAGE_SIZE
    expected = {file: value for file, _, value in new_v1().writes(wish, MemoryV1.UNTOUCHED)}
    assert expected == {
        LIMIT: rounded,
        MEMSW: rounded,
        "memory.soft_limit_in_bytes": rounded,
        "memory.swappiness": 5,
        "memory.oom_control": None,
    }


# ---- v1 without swap accounting ------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "writes"),
    [
        (MemoryLimits(max=M), [(LIMIT, str(M))]),
        (MemoryLimits(max=M, swap_max=UNLIMITED), [(LIMIT, str(M))]),
        (MemoryLimits(max=M, swap_max=0), [(LIMIT, str(M)), ("memory.swappiness", "0")]),
        (MemoryLimits(max=M, swap_max=0, swappiness=60), [
            (LIMIT, str(M)), ("memory.swappiness", "60"),
        ]),
        (MemoryLimits(max=UNLIMITED), [(LIMIT, "-1")]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("active", [False, True])
def test_without_memsw(monkeypatch, wish, writes, active):
    monkeypatch.setattr(proc, "swap_is_active", lambda: active)
    out = new_v1(memsw=False).writes(wish, MemoryLimits(max=UNLIMITED))
    assert [(file, text) for file, text, _ in out] == writes


def test_a_swap_limit_that_cannot_be_kept_is_refused(monkeypatch):
    memory = new_v1(memsw=False)
    monkeypatch.setattr(proc, "swap_is_active", lambda: True)
    with pytest.raises(UnsupportedError) as caught:
        memory.writes(MemoryLimits(max=M, swap_max=M), MemoryV1.UNTOUCHED)
    assert "memory.memsw" in str(caught.value)
    assert caught.value.hint == "boot with swapaccount=1"
    monkeypatch.setattr(proc, "swap_is_active", lambda: False)  # then it holds by itself
    out = memory.writes(MemoryLimits(max=M, swap_max=M), MemoryV1.UNTOUCHED)
    assert [file for file, _, _ in out] == [LIMIT]


# ---- v2 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "writes"),
    [
        (MemoryLimits(), []),
        (MemoryLimits(max=M), [("memory.max", str(M))]),
        (MemoryLimits(max=UNLIMITED), [("memory.max", "max")]),
        (MemoryLimits(max=12345), [("memory.max", str(12345 // PAGE_SIZE * PAGE_SIZE))]),
        (
            MemoryLimits(max=3 * M, high=2 * M, low=M, min=0, swap_max=0, oom_group=True),
            [
                ("memory.swap.max", "0"),
                ("memory.low", str(M)),
                ("memory.min", "0"),
                ("memory.high", str(2 * M)),
                ("memory.max", str(3 * M)),
                ("memory.oom.group", "1"),
            ],
        ),
        (MemoryLimits(oom_group=False), [("memory.oom.group", "0")]),
        (MemoryLimits(swap_max=UNLIMITED), [("memory.swap.max", "max")]),
        (MemoryLimits(oom_pause=False), []),
    ],
)
@pytest.mark.parametrize("now", [MemoryV2.UNTOUCHED, MemoryLimits(max=5 * M, swap_max=0)])
def test_the_writes_of_v2(wish, writes, now):
    out = new_v2().writes(wish, now)
    assert [(file, text) for file, text, _ in out] == writes
    assert all(parse_limit(text.encode()) == value for _, text, value in out)


@pytest.mark.parametrize(
    ("active", "size", "refused"),
    [
        (False, 0, False),
        (False, M, False),
        (False, UNLIMITED, False),
        (True, UNLIMITED, False),
        (True, 0, True),
        (True, M, True),
    ],
)
def test_v2_without_swap_accounting(monkeypatch, active, size, refused):
    monkeypatch.setattr(proc, "swap_is_active", lambda: active)
    memory = new_v2(swap=False)
    wish = MemoryLimits(max=M, swap_max=size)
    if not refused:
        assert memory.writes(wish, MemoryV2.UNTOUCHED) == [("memory.max", str(M), M)]
        return
    with pytest.raises(UnsupportedError, match=r"no memory\.swap\.max") as caught:
        memory.writes(wish, MemoryV2.UNTOUCHED)
    assert caught.value.hint.startswith("boot with swapaccount=1")


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("memory", "wish", "text"),
    [
        (
            new_v1,
            {"high": M},
            "memory.high needs the memory controller on cgroup v2; here it is on v1",
        ),
        (
            new_v1,
            {"min": 0},
            "memory.min needs the memory controller on cgroup v2; here it is on v1",
        ),
        (
            new_v2,
            {"swappiness": 0},
            "memory.swappiness needs the memory controller on cgroup v1; here it is on v2",
        ),
        (
            new_v2,
            {"oom_pause": True, "high": M},
            "pausing at the limit uses memory.high on cgroup v2, so high cannot be given too",
        ),
    ],
)
def test_what_a_version_cannot_do_is_refused_by_name(memory, wish, text):
    backend = memory()
    with pytest.raises(UnsupportedError) as caught:
        backend.writes(MemoryLimits(max=M, **wish), backend.UNTOUCHED)
    assert str(caught.value) == text
    assert caught.value.hint


# ---- numbers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"0\n", 0),
        (b"4096\n", 4096),
        (b"max\n", UNLIMITED),
        (b"%d\n" % MAX_BYTES, UNLIMITED),  # v1
        (b"%d\n" % (MAX_BYTES - PAGE_SIZE), MAX_BYTES - PAGE_SIZE),
        (b"18446744073709551615\n", UNLIMITED),
    ],
)
def test_parse_limit(data, size):
    assert parse_limit(data) == size


@pytest.mark.parametrize("size", [0, PAGE_SIZE, M, MAX_BYTES - PAGE_SIZE])
def test_a_limit_can_be_read_back(size):
    assert parse_limit(limit_text(size, "-1").encode()) == size
    assert limit_text(UNLIMITED, "-1") == "-1" and limit_text(UNLIMITED, "max") == "max"
