"""Names and values of parameters between the versions: what cgxget and cgxset promise."""

import errno

import pytest

from climits.cgroup import translate
from climits.cgroup.translate import V1, V2
from climits.errors import CgroupError, InvalidValueError
from climits.units import UNLIMITED

NO_LIMIT = "9223372036854771712"


def read(name, here, **files):
    """The parameter, given what files hold: underscores in their names are points where doubled."""
    texts = {file.replace("__", "."): text for file, text in files.items()}
    return translate.read(name, texts.__getitem__, here=here)


def write(here, settings, **files):
    texts = {file.replace("__", "."): text.encode() for file, text in files.items()}
    return dict(translate.write(list(settings.items()), texts.get, here=here))


@pytest.mark.parametrize(
    ("name", "here", "files", "value"),
    [
        # memory, asked as v2 where v1 is
        ("memory.max", V1, {"memory__limit_in_bytes": "4096000"}, "4096000"),
        ("memory.max", V1, {"memory__limit_in_bytes": "0"}, "0"),
        ("memory.max", V1, {"memory__limit_in_bytes": NO_LIMIT}, "max"),
        ("memory.high", V1, {"memory__soft_limit_in_bytes": "409600"}, "409600"),
        ("memory.high", V1, {"memory__soft_limit_in_bytes": NO_LIMIT}, "max"),
        ("memory.current", V1, {"memory__usage_in_bytes": "5"}, "5"),
        ("memory.peak", V1, {"memory__max_usage_in_bytes": "6"}, "6"),
        (
            "memory.swap.max", V1,
            {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": "150"}, "50",
        ),
        (
            "memory.swap.max", V1,
            {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": NO_LIMIT}, "max",
        ),
        (
            "memory.swap.max", V1,
            {"memory__limit_in_bytes": NO_LIMIT, "memory__memsw__limit_in_bytes": NO_LIMIT}, "max",
        ),
        (
            "memory.swap.current", V1,
            {"memory__memsw__usage_in_bytes": "70", "memory__usage_in_bytes": "50"}, "20",
        ),
        (  # two files, read one after the other
            "memory.swap.current", V1,
            {"memory__memsw__usage_in_bytes": "50", "memory__usage_in_bytes": "51"}, "0",
        ),
        # memory, asked as v1 where v2 is
        ("memory.limit_in_bytes", V2, {"memory__max": "8192000"}, "8192000"),
        ("memory.limit_in_bytes", V2, {"memory__max": "max"}, NO_LIMIT),
        ("memory.soft_limit_in_bytes", V2, {"memory__high": "819200"}, "819200"),
        ("memory.soft_limit_in_bytes", V2, {"memory__high": "max"}, NO_LIMIT),
        ("memory.usage_in_bytes", V2, {"memory__current": "7"}, "7"),
        ("memory.max_usage_in_bytes", V2, {"memory__peak": "8"}, "8"),
        (
            "memory.memsw.limit_in_bytes", V2,
            {"memory__max": "100", "memory__swap__max": "50"}, "150",
        ),
        (
            "memory.memsw.limit_in_bytes", V2,
            {"memory__max": "max", "memory__swap__max": "50"}, NO_LIMIT,
        ),
        (
            "memory.memsw.limit_in_bytes", V2,
            {"memory__max": "100", "memory__swap__max": "max"}, NO_LIMIT,
        ),
        (
            "memory.memsw.usage_in_bytes", V2,
            {"memory__current": "50", "memory__swap__current": "20"}, "70",
        ),
        # cpu
        ("cpu.weight", V1, {"cpu__shares": "512"}, "50"),
        ("cpu.weight", V1, {"cpu__shares": "1024"}, "100"),
        ("cpu.shares", V2, {"cpu__weight": "200"}, "2048"),
        ("cpu.max", V1, {"cpu__cfs_quota_us": "10000", "cpu__cfs_period_us": "50000"},
         "10000 50000"),
        ("cpu.max", V1, {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"}, "max 100000"),
        ("cpu.cfs_quota_us", V2, {"cpu__max": "6000 26000"}, "6000"),
        ("cpu.cfs_quota_us", V2, {"cpu__max": "max 41000"}, "-1"),
        ("cpu.cfs_period_us", V2, {"cpu__max": "7000 27000"}, "27000"),
        ("cpu.max.burst", V1, {"cpu__cfs_burst_us": "3"}, "3"),
        ("cpu.cfs_burst_us", V2, {"cpu__max__burst": "4"}, "4"),
        ("cpu.idle", V1, {"cpu__idle": "1"}, "1"),
        # cpuset
        ("cpuset.cpus", V1, {"cpuset__cpus": "0-1"}, "0-1"),
        ("cpuset.mems", V2, {"cpuset__mems": "0"}, "0"),
        ("cpuset.cpus.effective", V1, {"cpuset__effective_cpus": "0-1"}, "0-1"),
        ("cpuset.mems.effective", V1, {"cpuset__effective_mems": "0"}, "0"),
        ("cpuset.effective_cpus", V2, {"cpuset__cpus__effective": "1"}, "1"),
        ("cpuset.effective_mems", V2, {"cpuset__mems__effective": "0"}, "0"),
        ("cpuset.cpus.partition", V1, {"cpuset__cpu_exclusive": "1"}, "root"),
        ("cpuset.cpus.partition", V1, {"cpuset__cpu_exclusive": "0"}, "member"),
        ("cpuset.cpu_exclusive", V2, {"cpuset__cpus__partition": "root"}, "1"),
        ("cpuset.cpu_exclusive", V2, {"cpuset__cpus__partition": "isolated"}, "1"),
        ("cpuset.cpu_exclusive", V2, {"cpuset__cpus__partition": "member"}, "0"),
        ("cpuset.cpu_exclusive", V2, {"cpuset__cpus__partition": "root invalid (x)"}, "0"),
    ],
)  # fmt: skip
def test_reading(name, here, files, value):
    assert translate.can_read(name, here=here)
    assert read(name, here, **files) == value


@pytest.mark.parametrize(
    ("here", "settings", "files", "writes"),
    [
        # v2's where v1 is
        (V1, {"memory.max": "60M"}, {"memory__limit_in_bytes": NO_LIMIT},
         {"memory.limit_in_bytes": "62914560"}),
        (V1, {"memory.max": "max"}, {"memory__limit_in_bytes": "4096"},
         {"memory.limit_in_bytes": "-1"}),
        # the swap on top stays
        (V1, {"memory.max": "200"},
         {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": "150"},
         {"memory.limit_in_bytes": "200", "memory.memsw.limit_in_bytes": "250"}),
        (V1, {"memory.max": "200"},
         {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": NO_LIMIT},
         {"memory.limit_in_bytes": "200", "memory.memsw.limit_in_bytes": "-1"}),
        (V1, {"memory.max": "max"},
         {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": "150"},
         {"memory.limit_in_bytes": "-1", "memory.memsw.limit_in_bytes": "-1"}),
        (V1, {"memory.swap.max": "0"},
         {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": "150"},
         {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "100"}),
        (V1, {"memory.max": "100"},
         {"memory__limit_in_bytes": NO_LIMIT, "memory__memsw__limit_in_bytes": NO_LIMIT},
         {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "-1"}),
        # that this kernel does not count swap, the write will tell
        (V1, {"memory.swap.max": "0"}, {"memory__limit_in_bytes": "100"},
         {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "100"}),
        (V1, {"memory.swap.max": "max"},
         {"memory__limit_in_bytes": "100", "memory__memsw__limit_in_bytes": "150"},
         {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "-1"}),
        (V1, {"memory.high": "max"}, {}, {"memory.soft_limit_in_bytes": "-1"}),
        (V1, {"memory.high": "5M"}, {}, {"memory.soft_limit_in_bytes": "5M"}),
        (V1, {"cpu.weight": "200"}, {}, {"cpu.shares": "2048"}),
        (V1, {"cpu.max": "5000 25000"}, {},
         {"cpu.cfs_period_us": "25000", "cpu.cfs_quota_us": "5000"}),
        (V1, {"cpu.max": "max 40000"}, {},
         {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "40000"}),
        (V1, {"cpu.max": "5000"}, {}, {"cpu.cfs_quota_us": "5000"}),
        (V1, {"cpu.max": "max"}, {}, {"cpu.cfs_quota_us": "-1"}),
        (V1, {"cpu.max.burst": "3"}, {}, {"cpu.cfs_burst_us": "3"}),
        (V1, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}, {},
         {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        (V1, {"cpuset.cpus.partition": "root"}, {}, {"cpuset.cpu_exclusive": "1"}),
        (V1, {"cpuset.cpus.partition": "member"}, {}, {"cpuset.cpu_exclusive": "0"}),
        # v1's where v2 is
        (V2, {"memory.limit_in_bytes": "50M"}, {}, {"memory.max": "50M"}),
        (V2, {"memory.limit_in_bytes": "-1"}, {}, {"memory.max": "max"}),
        (V2, {"memory.limit_in_bytes": "9223372036860000000"}, {}, {"memory.max": "max"}),
        (V2, {"memory.soft_limit_in_bytes": "-1"}, {}, {"memory.high": "max"}),
        (V2, {"memory.memsw.limit_in_bytes": "150"}, {"memory__max": "100"},
         {"memory.swap.max": "50"}),
        (V2, {"memory.memsw.limit_in_bytes": "-1"}, {"memory__max": "100"},
         {"memory.swap.max": "max"}),
        (V2, {"memory.memsw.limit_in_bytes": "-1"}, {"memory__max": "max"},
         {"memory.swap.max": "max"}),
        (V2, {"cpu.shares": "512"}, {}, {"cpu.weight": "50"}),
        (V2, {"cpu.shares": "2"}, {}, {"cpu.weight": "1"}),
        (V2, {"cpu.cfs_quota_us": "10000"}, {"cpu__max": "max 100000"},
         {"cpu.max": "10000 100000"}),
        (V2, {"cpu.cfs_quota_us": "-1"}, {"cpu__max": "5 50000"}, {"cpu.max": "max 50000"}),
        (V2, {"cpu.cfs_period_us": "50000"}, {"cpu__max": "10000 100000"},
         {"cpu.max": "10000 50000"}),
        (V2, {"cpu.cfs_period_us": "50000"}, {"cpu__max": "max 100000"}, {"cpu.max": "max 50000"}),
        (V2, {"cpu.cfs_quota_us": "10"}, {}, {"cpu.max": "10 100000"}),
        (V2, {"cpu.cfs_period_us": "5000"}, {}, {"cpu.max": "max 5000"}),
        (V2, {"cpuset.cpu_exclusive": "1"}, {}, {"cpuset.cpus.partition": "root"}),
        (V2, {"cpuset.cpu_exclusive": "0"}, {}, {"cpuset.cpus.partition": "member"}),
    ],
)  # fmt: skip
def test_writing(here, settings, files, writes):
    assert all(translate.can_write(name, here=here) for name in settings)
    assert write(here, settings, **files) == writes


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("here", "settings", "files", "writes"),
    [
        (V2, [("memory.limit_in_bytes", "1M"), ("memory.memsw.limit_in_bytes", "3M")],
         {"memory__max": "max"}, {"memory.max": "1M", "memory.swap.max": str(2 << 20)}),
        (V1, [("memory.max", "100"), ("memory.swap.max", "20")],
         {"memory__limit_in_bytes": NO_LIMIT, "memory__memsw__limit_in_bytes": NO_LIMIT},
         {"memory.limit_in_bytes": "100", "memory.memsw.limit_in_bytes": "120"}),
        (V2, [("cpu.cfs_quota_us", "1000"), ("cpu.cfs_period_us", "20000")],
         {"cpu__max": "max 100000"}, {"cpu.max": "1000 20000"}),
    ],
)  # fmt: skip
def test_what_depends_on_another_may_come_first(here, settings, files, writes, turn):
    assert write(here, dict(settings[::turn]), **files) == writes


NO_COUNTERPART = [
    (V2, "memory.oom_control"), (V2, "memory.swappiness"), (V2, "memory.stat"),
    (V2, "memory.kmem.limit_in_bytes"), (V2, "memory.memsw.max_usage_in_bytes"),
    (V2, "memory.use_hierarchy"), (V2, "memory.move_charge_at_immigrate"),
    (V2, "memory.force_empty"), (V2, "cpu.stat"), (V2, "cpu.rt_period_us"),
    (V2, "cpuset.mem_exclusive"), (V2, "cpuset.mem_hardwall"), (V2, "cpuset.memory_migrate"),
    (V2, "cpuset.memory_pressure"), (V2, "cpuset.memory_pressure_enabled"),
    (V2, "cpuset.memory_spread_page"), (V2, "cpuset.memory_spread_slab"),
    (V2, "cpuset.sched_load_balance"), (V2, "cpuset.sched_relax_domain_level"),
    (V1, "memory.min"), (V1, "memory.low"), (V1, "memory.oom.group"), (V1, "memory.events"),
    (V1, "memory.stat"), (V1, "cpu.stat"), (V1, "cpu.pressure"), (V1, "nonsense.x"),
]  # fmt: skip


@pytest.mark.parametrize(("here", "name"), NO_COUNTERPART)
def test_what_has_no_counterpart_is_known(here, name):
    assert not translate.can_read(name, here=here)
    assert not translate.can_write(name, here=here)


@pytest.mark.parametrize(
    ("here", "name"),
    [
        (V1, "memory.current"), (V1, "memory.peak"), (V1, "cpuset.cpus.effective"),
        (V2, "memory.usage_in_bytes"), (V2, "memory.max_usage_in_bytes"),
        (V2, "memory.memsw.usage_in_bytes"), (V2, "cpuset.effective_mems"), (V2, "pids.current"),
    ],
)  # fmt: skip
def test_a_figure_can_be_read_only(here, name):
    assert translate.can_read(name, here=here)
    assert not translate.can_write(name, here=here)


SIZES = "write bytes, or a number with K, M or G; for no limit -1 on v1 and max on v2"


@pytest.mark.parametrize(
    ("here", "settings", "files", "problem", "hint"),
    [
        (V1, {"memory.max": "-10"}, {}, "memory.max: -10: not a size", SIZES),
        (V1, {"memory.max": "abc"}, {}, "memory.max: abc: not a size", SIZES),
        (V1, {"memory.max": ""}, {}, "memory.max: : not a size", SIZES),
        (V1, {"memory.swap.max": "x"}, {}, "memory.swap.max: x: not a size", SIZES),
        (V1, {"memory.max": "max", "memory.swap.max": "5"}, {},
         "memory.swap.max: cgroup v1 counts memory and swap together, and memory has no limit",
         "set memory.max too"),
        (V1, {"memory.swap.max": "5"}, {"memory__limit_in_bytes": NO_LIMIT},
         "memory.swap.max: cgroup v1 counts memory and swap together, and memory has no limit",
         "set memory.max too"),
        (V1, {"cpu.max": "a b"}, {}, "cpu.max: b: not a number", "write digits"),
        (V1, {"cpu.max": ""}, {}, "cpu.max: : not a number", "write digits"),
        (V1, {"cpu.max": "1 2 3"}, {}, "cpu.max: 1 2 3: not a bandwidth",
         "write QUOTA PERIOD, or max"),
        (V1, {"cpu.max": "-5"}, {}, "cpu.max: -5: not a number", "write digits"),
        (V1, {"cpu.max": "1" * 19}, {}, f"cpu.max: {'1' * 19}: not a number", "write digits"),
        (V1, {"cpu.weight": "-5"}, {}, "cpu.weight: -5: not a number", "write digits"),
        (V1, {"cpuset.cpus.partition": "isolated"}, {},
         "cpuset.cpus.partition: isolated: cgroup v1 has no such partition",
         "write root or member"),
        (V2, {"cpu.shares": "many"}, {}, "cpu.shares: many: not a number", "write digits"),
        (V2, {"cpuset.cpu_exclusive": "2"}, {}, "cpuset.cpu_exclusive: 2: not 0 or 1",
         "write 0 or 1"),
        (V2, {"memory.memsw.limit_in_bytes": "abc"}, {"memory__max": "5"},
         "memory.memsw.limit_in_bytes: abc: not a size", SIZES),
        (V2, {"memory.limit_in_bytes": "abc", "memory.memsw.limit_in_bytes": "5"}, {},
         "memory.limit_in_bytes: abc: not a size", SIZES),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(here, settings, files, problem, hint):
    with pytest.raises(InvalidValueError) as caught:
        write(here, settings, **files)
    assert (str(caught.value), caught.value.hint) == (problem, hint)
    name = problem.partition(":")[0]
    if "and memory has no limit" in problem:
        assert caught.value.value == 5
    else:
        assert caught.value.value == {"cpu.max: b: not a number": "b"}.get(problem, settings[name])


def test_a_number_of_eighteen_digits_is_one():
    assert write(V1, {"cpu.max": "1" * 18}) == {"cpu.cfs_quota_us": "1" * 18}


@pytest.mark.parametrize(("limit", "total"), [("100", "50"), ("max", "50")])
def test_memory_and_swap_below_memory_is_refused(limit, total):
    with pytest.raises(CgroupError, match="cannot be lower than") as caught:
        write(V2, {"memory.memsw.limit_in_bytes": total}, memory__max=limit)
    assert (caught.value.value, caught.value.errno) == (50, errno.EINVAL)


@pytest.mark.parametrize("here", [V1, V2])
def test_every_name_that_can_be_written_can_be_read_back_from_what_is_written(here):
    samples = {"memory": "8192", "cpu": "10000", "cpuset": "0", "pids": "5"}
    files = {
        "memory.limit_in_bytes": b"4096", "memory.memsw.limit_in_bytes": b"8192",
        "memory.max": b"4096", "memory.swap.max": b"4096", "cpu.max": b"max 100000",
        "cpu.cfs_period_us": b"100000", "cpu.cfs_quota_us": b"-1",
    }  # fmt: skip
    names = [n for n in translate._READ[here] if translate.can_write(n, here=here)]
    assert len(names) > 8
    for name in names:
        text = samples[name.partition(".")[0]]
        if "partition" in name:
            text = "root"
        elif name == "cpu.max":
            text = "10000 100000"
        elif name == "cpu.weight":
            text = "200"
        elif name == "cpu.shares":
            text = "2048"
        elif name == "cpu.idle" or "exclusive" in name:
            text = "1"
        after = {**files, **{f: t.encode() for f, t in translate.write(
            [(name, text)], files.get, here=here)}}  # fmt: skip
        assert translate.read(name, lambda f, a=after: a[f].decode(), here=here) == text, name


def test_the_list_of_names_is_what_the_files_tell():
    files = ["memory.limit_in_bytes", "memory.stat", "cpu.cfs_quota_us"]
    assert translate.names(files, here=V1) == ["memory.max"]  # neither swap.max nor half a cpu.max
    assert translate.names([*files, "cpu.cfs_period_us"], here=V1) == ["memory.max", "cpu.max"]


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0), ("12345", 12345), ("1k", 1024), ("1K", 1024), ("2m", 2 << 20), ("3G", 3 << 30),
        ("1T", 1 << 40), ("-1", UNLIMITED), ("max", UNLIMITED), (NO_LIMIT, UNLIMITED),
        ("18446744073709551616", UNLIMITED), (" 5 ", 5), ("", None), ("-2", None), ("1.5G", None),
        ("10MB", None), ("G", None), ("abc", None), ("²", None),
        ("1" * 400, UNLIMITED), ("0" * 50 + "5", 5), ("1" + "0" * 40, UNLIMITED),
    ],
)  # fmt: skip
def test_sizes_as_the_kernel_reads_them(text, size):
    assert translate.kernel_size(text) == size


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "9" * 5000, "16E", "17179869184G", " 18446744073709551616 "]
)
def test_numbers_that_the_kernel_would_take_for_others(text):
    assert translate.overflows(text)


@pytest.mark.parametrize(
    "text", ["18446744073709551615", "15E", "9223372036860000000", "-1", "max", "abc", "", "0-3"]
)
def test_numbers_that_it_would_not(text):
    assert not translate.overflows(text)
