"""The sampler and the table, on directories and bytes that stand in for the kernel's."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.cgroup.files import stat_fields, walk_paths
from climits.cgroup.layout import Hierarchy, Layout
from climits.errors import CgroupGoneError, UnsupportedError
from climits.linux.mounts import Mount
from climits.observe.discover import Owner
from climits.observe.real_usage import RealUsage, explain
from climits.observe.sampler import Sample, Sampler
from climits.observe.stats import Row
from climits.observe.stats_table import lines, shortened
from climits.units import UNLIMITED

MIB = 1 << 20
V1_NONE = str(2**63 - 4096)
V1 = {
    "memory.usage_in_bytes": "5242880",
    "memory.max_usage_in_bytes": "6291456",
    "memory.limit_in_bytes": "8388608",
    "memory.memsw.limit_in_bytes": "10485760",
    "memory.kmem.usage_in_bytes": "4096",
    "memory.failcnt": "3",
    "memory.memsw.failcnt": "1",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2",
    "memory.stat": "cache 1\nrss 2\ntotal_cache 3145728\ntotal_rss 1048576\ntotal_shmem 1048576\n"
    "total_swap 8192",
}
V2 = {
    "memory.current": "5242880",
    "memory.peak": "6291456",
    "memory.max": "8388608",
    "memory.high": "max",
    "memory.swap.max": "0",
    "memory.swap.current": "8192",
    "memory.stat": "anon 1048576\nfile 3145728\nkernel 4096\nshmem 1048576\nfile_mapped 7",
    "memory.events": "low 0\nhigh 9\nmax 4\noom 1\noom_kill 2\noom_group_kill 0",
    "memory.pressure": "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000",
    "cpu.stat": "usage_usec 1250000\nuser_usec 1000000\nsystem_usec 250000",
    "pids.current": "7",
}


def make(top, path, files):
    """A directory with files."""
    where = top / path
    where.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (where / name).write_text(f"{content}\n")


def hierarchy(top, version, *controllers):
    top.mkdir(exist_ok=True)
    kind = "cgroup" if version == 1 else "cgroup2"
    mount = Mount(f"1 0 0:1 / {top} rw,relatime - {kind} none rw")
    return Hierarchy(mount, version, controllers)


def layout_of(*found):
    layout = Layout([])
    layout.hierarchies = list(found)
    layout.unified = next((h for h in found if h.born_inside), None)
    return layout


def sample_of(layout, path="/web"):
    with Sampler(layout) as sampler:
        sampler.add(path)
        return sampler.sample()[path]


# ---- figures -------------------------------------------------------------------------------

COMMON = {
    "current": 5 * MIB, "peak": 6 * MIB, "anon": MIB, "file": 2 * MIB, "shmem": MIB, "kernel": 4096,
    "swap": 8192, "max": 8 * MIB, "limit_hits": 4, "oom_kill": 2,
}  # fmt: skip
NAMES = [*COMMON, "high", "swap_max", "pressure_some", "pressure_full", "cpu", "pids"]


def facts(sample):
    return {name: getattr(sample, name) for name in NAMES}


def test_a_sample_on_v1(tmp_path):
    make(tmp_path, "memory/web", V1)
    make(tmp_path, "cpuacct/web", {"cpuacct.usage": "1250000000"})
    make(tmp_path, "pids/web", {"pids.current": "7"})
    layout = layout_of(
        hierarchy(tmp_path / "memory", 1, "memory"),
        hierarchy(tmp_path / "cpuacct", 1, "cpu", "cpuacct"),
        hierarchy(tmp_path / "pids", 1, "pids"),
    )
    assert facts(sample_of(layout)) == COMMON | {
        "high": None, "swap_max": 2 * MIB, "pressure_some": None, "pressure_full": None,
        "cpu": 1.25, "pids": 7,
    }  # fmt: skip


def test_a_sample_on_v2(tmp_path):
    make(tmp_path, "all/web", V2)
    layout = layout_of(hierarchy(tmp_path / "all", 2, "memory", "pids", "cpu"))
    assert facts(sample_of(layout)) == COMMON | {
        "high": UNLIMITED, "swap_max": 0, "pressure_some": 2.5, "pressure_full": 0.5,
        "cpu": 1.25, "pids": 7,
    }  # fmt: skip


def test_a_hybrid_host_has_pressure_from_one_and_memory_from_the_other(tmp_path):
    make(tmp_path, "memory/web", V1)
    make(
        tmp_path,
        "unified/web",
        {"memory.pressure": V2["memory.pressure"], "cpu.stat": V2["cpu.stat"]},
    )
    make(tmp_path, "cpuacct", {"cpuacct.usage": "9"})  # it has no /web
    layout = layout_of(
        hierarchy(tmp_path / "unified", 2),
        hierarchy(tmp_path / "cpuacct", 1, "cpuacct"),
        hierarchy(tmp_path / "memory", 1, "memory"),
    )
    sample = sample_of(layout)
    assert (sample.current, sample.pressure_some, sample.cpu) == (5 * MIB, 2.5, 1.25)


def test_what_there_is_no_file_for_is_none(tmp_path):
    make(tmp_path, "all/web", {"memory.current": "4096", "memory.stat": "anon 1"})
    sample = sample_of(layout_of(hierarchy(tmp_path / "all", 2, "memory")))
    known = {name: value for name, value in facts(sample).items() if value is not None}
    assert known == {"current": 4096, "anon": 1}
    assert sample.stat == {"anon": 1}


@pytest.mark.parametrize(
    ("files", "hits", "swap_max"),
    [
        # Both limits the same: the kernel never counts there (swap 0), so 0 tells nothing.
        ({"memory.memsw.limit_in_bytes": "8388608", "memory.failcnt": "0"}, None, 0),
        ({"memory.memsw.limit_in_bytes": "8388608", "memory.failcnt": "5"}, 5, 0),
        ({"memory.memsw.limit_in_bytes": V1_NONE, "memory.failcnt": "0"}, 0, UNLIMITED),
    ],
)
def test_limit_hits_on_v1_are_told_where_they_are_counted(tmp_path, files, hits, swap_max):
    make(tmp_path, "memory/web", V1 | {"memory.memsw.failcnt": "0"} | files)
    sample = sample_of(layout_of(hierarchy(tmp_path / "memory", 1, "memory")))
    assert (sample.limit_hits, sample.swap_max) == (hits, swap_max)


def test_without_swap_accounting_swap_has_no_limit_to_tell(tmp_path):
    make(tmp_path, "memory/web", {n: t for n, t in V1.items() if "memsw" not in n})
    sample = sample_of(layout_of(hierarchy(tmp_path / "memory", 1, "memory")))
    assert (sample.swap_max, sample.limit_hits) == (None, 3)


def test_a_figure_is_worked_out_once_and_only_when_it_is_asked_for():
    calls = []
    readers = {"current": lambda raw: calls.append(raw) or 7}
    sample = Sample("/web", 1.0, [b"7\n"], readers)
    assert calls == []
    assert (sample.current, sample.current, sample.peak) == (7, 7, None)
    assert calls == [[b"7\n"]]
    assert repr(sample) == "<Sample of /web: 7 bytes>"
    with pytest.raises(AttributeError):
        _ = sample.nonsense


def test_all_of_memory_stat():
    assert stat_fields(b"anon 1\nfile 22\n") == {"anon": 1, "file": 22}
    assert stat_fields(b"") == {}


# ---- trees ---------------------------------------------------------------------------------


def test_a_tree_is_the_union_of_the_hierarchies(tmp_path):
    make(tmp_path, "memory/a/b", V1)
    make(tmp_path, "memory/a", V1)
    make(tmp_path, "memory", V1)
    make(tmp_path, "pids/c", {"pids.current": "1"})
    layout = layout_of(
        hierarchy(tmp_path / "memory", 1, "memory"), hierarchy(tmp_path / "pids", 1, "pids")
    )
    with Sampler(layout) as sampler:
        assert sampler.scan() == (["/", "/a", "/a/b", "/c"], [])
        samples = sampler.sample()
        assert samples["/c"].pids == 1 and samples["/c"].current is None
        assert samples["/a"].current == 5 * MIB
        assert sampler.scan("/nothing") == ([], [])
        sampler.discard("/a/")
        assert sampler.paths == ["/", "/a/b", "/c"]


def test_walking_what_is_gone_yields_nothing(tmp_path):
    assert list(walk_paths(str(tmp_path / "gone"))) == []
    (tmp_path / "a" / "b").mkdir(parents=True)
    found = [path for path, _, _ in walk_paths(str(tmp_path))]
    assert found == [str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"]


def test_what_is_not_there_is_refused(tmp_path):
    layout = layout_of(hierarchy(tmp_path / "memory", 1, "memory"))
    with Sampler(layout) as sampler, pytest.raises(CgroupGoneError, match="no such cgroup: /web"):
        sampler.add("/web")
    with Sampler(layout_of()) as sampler, pytest.raises(UnsupportedError):
        sampler.add("/web")


# ---- the table -----------------------------------------------------------------------------


def row_of(name="web", before=None, **figures):
    return Row(Owner(runtime="climits", name=name), fake(1.0, **figures), before)


def fake(time, **figures):
    sample = Sample("/climits/web", time, [], {})
    sample.__dict__.update(figures)
    return sample


def test_rates_are_of_the_time_between_two_samples():
    before = fake(1.0, cpu=1.0, pressure_some=0.5)
    row = Row(Owner(runtime="", name="x"), fake(3.0, cpu=2.0, pressure_some=0.6), before)
    assert row.cpu_percent == 50 and row.pressure_percent == pytest.approx(5)
    again = Row(Owner(runtime="", name="x"), fake(3.0, cpu=0.5), before)  # made anew
    assert again.cpu_percent is None and again.pressure_percent is None
    assert Row(Owner(runtime="", name="x"), fake(1.0, cpu=2.0), before).cpu_percent is None


def test_a_percentage_needs_a_limit():
    assert row_of(current=MIB, max=4 * MIB).memory_percent == 25
    for limit in (None, UNLIMITED, 0):
        assert row_of(current=MIB, max=limit).memory_percent is None
    assert row_of(max=4 * MIB).memory_percent is None


def test_json_leaves_out_what_is_not_known():
    assert row_of(current=MIB, max=UNLIMITED).as_dict() == {
        "path": "/climits/web", "runtime": "climits", "name": "web", "current": MIB, "max": "max",
    }  # fmt: skip


@given(st.text(max_size=60), st.integers(4, 250))
def test_every_line_fits(name, width):
    rows = [row_of(name, current=MIB, max=4 * MIB), row_of("x" * 70)]
    out = lines(rows, width)
    least = len(lines([row_of("x" * 4, current=MIB, max=4 * MIB)], 1)[0])
    assert max(map(len, out)) <= max(width, least)
    assert len(out) == 3 and "\n" not in "".join(out)
    assert out[0].split()[:2][0] == "NAME"


def test_without_a_width_all_columns_are_there():
    (heading, line) = lines([row_of("x" * 300, current=MIB)], None)
    assert len(heading.split()) == 16
    assert line.startswith("x" * 300 + "  climits      1M")


def test_long_names_keep_both_ends():
    assert shortened("system.slice/web.service", 12) == "syste..rvice"
    assert shortened("web", 12) == "web"
    assert len(shortened("abcdefgh", 5)) == 5


def test_a_rest_below_nothing_is_shown_as_such():
    usage = RealUsage(path="/web", max=UNLIMITED, current=MIB, rest=-8192, words={"max": "m"})
    assert any(line.startswith("       -8K  rest") for line in explain(usage, "/web"))
    assert SimpleNamespace(**usage.as_dict()).max == "max"


def test_the_root_is_explained_as_what_it_is():
    usage = RealUsage(path="/", max=UNLIMITED, current=MIB, real=MIB, words={"current": "m"})
    text = " ".join(explain(usage, "/"))
    assert "The root is charged nothing" in text and "= 1M" not in text
    usage = RealUsage(path="/web", current=MIB, real=MIB, words={"current": "m", "real": "r"})
    assert "r = 1M, m = 1M: the latter has kernel memory in it" in " ".join(explain(usage, "/"))
