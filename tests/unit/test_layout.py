import pytest

from climits.cgroup import cpu, cpuset, freezer, layout
from climits.cgroup.files import Directory
from climits.cgroup.layout import Layout
from climits.cgroup.memory.v1 import MemoryV1
from climits.cgroup.memory.v2 import MemoryV2
from climits.errors import CgroupError, UnsupportedError
from climits.linux.mounts import cgroup_mounts


def v1(point, controllers, *, root="/", flags="rw,relatime", options="rw"):
    return "cgroup", point, root, flags, f"{options},{controllers}"


def v2(point, *, root="/", flags="rw,relatime"):
    return "cgroup2", point, root, flags, "rw"


def layout_of(*mounts):
    """The layout that these mounts make."""
    lines = [
        f"{n} 1 0:{n} {root} {point} {flags} - {fstype} {fstype} {options}"
        for n, (fstype, point, root, flags, options) in enumerate(mounts, 30)
    ]
    return Layout(cgroup_mounts("\n".join(lines)))


@pytest.fixture
def unified_at(tmp_path):
    """Make a directory that looks like the root of a v2 hierarchy with these controllers."""

    def make(controllers, name="unified"):
        point = tmp_path / name
        point.mkdir()
        (point / "cgroup.controllers").write_text(controllers + "\n")
        return str(point)

    return make


FS = "/sys/fs/cgroup"
LEGACY = [
    v1(f"{FS}/cpu,cpuacct", "cpu,cpuacct"),
    v1(f"{FS}/cpuset", "cpuset"),
    v1(f"{FS}/memory", "memory"),
    v1(f"{FS}/freezer", "freezer"),
    v1(f"{FS}/pids", "pids"),
    v1(f"{FS}/systemd", "name=systemd", options="rw,xattr,release_agent=/lib/systemd/agent"),
]


def where(found):
    """{controller: mount point} of a layout."""
    return {c: h.mount_point for h in found.hierarchies for c in h.controllers}


def test_legacy():
    found = layout_of(*LEGACY)
    assert found.mode == "legacy" and found.unified is None
    assert where(found) == {
        "cpu": f"{FS}/cpu,cpuacct",
        "cpuacct": f"{FS}/cpu,cpuacct",
        "cpuset": f"{FS}/cpuset",
        "memory": f"{FS}/memory",
        "freezer": f"{FS}/freezer",
        "pids": f"{FS}/pids",
    }
    assert found.find("cpu") is found.find("cpuacct")
    assert [h.label for h in found.trackers()] == ["freezer", "cpu,cpuacct"]


def test_a_named_hierarchy_holds_no_controller():
    (named,) = [h for h in layout_of(*LEGACY).hierarchies if h.mount_point == f"{FS}/systemd"]
    assert named.controllers == frozenset() and named.version_name == "v1"


def test_two_named_hierarchies_are_two():
    found = layout_of(v1("/a", "name=systemd"), v1("/b", "name=mine"))
    assert [h.mount_point for h in found.hierarchies] == ["/a", "/b"]
    assert found.mode == "none"


def test_a_legacy_host_without_a_freezer_tracks_by_what_there_is():
    assert layout_of(v1("/m", "memory")).trackers() == []
    assert [h.label for h in layout_of(v1("/c", "cpuacct")).trackers()] == ["cpuacct"]
    both = layout_of(v1("/x", "freezer,cpuacct,memory"))
    assert both.trackers() == [both.find("memory")]


@pytest.mark.parametrize("controllers", ["", "hugetlb misc", "rdma perf_event dmem"])
def test_hybrid(unified_at, controllers):
    point = unified_at(controllers)
    found = layout_of(*LEGACY, v2(point))
    assert found.mode == "hybrid"
    assert found.unified.mount_point == point
    assert found.trackers() == [found.unified]
    assert found.find("memory").mount_point == f"{FS}/memory"
    assert found.unified.controllers == set(controllers.split())


def test_unified(unified_at):
    point = unified_at("cpuset cpu io memory pids")
    found = layout_of(v2(point))
    assert found.mode == "unified"
    assert where(found) == dict.fromkeys(["cpuset", "cpu", "io", "memory", "pids"], point)
    assert found.trackers() == [found.unified] == found.hierarchies
    assert found.unified.label == "unified" and found.unified.version_name == "v2"


def test_mixed(unified_at):
    point = unified_at("cpuset memory")
    found = layout_of(v1("/pids", "pids"), v1("/freezer", "freezer"), v2(point))
    assert found.mode == "mixed"
    assert where(found) == {
        "pids": "/pids", "freezer": "/freezer", "cpuset": point, "memory": point,
    }  # fmt: skip
    assert found.trackers() == [found.unified]


@pytest.mark.parametrize("mounts", [[], [v1("/s", "name=systemd")], [v2("/not/there")]])
def test_no_controller_at_all(mounts):
    found = layout_of(*mounts)
    assert found.mode == "none"
    assert found.find("memory") is None


@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        (v1("/whole", "memory"), v1("/bind", "memory", root="/docker/x"), "/whole"),
        (v1("/bind", "memory", root="/docker/x"), v1("/whole", "memory"), "/whole"),
        (v1("/ro", "memory", flags="ro"), v1("/rw", "memory"), "/rw"),
        (v1("/rw", "memory"), v1("/ro", "memory", flags="ro"), "/rw"),
        (v1("/ro", "memory", flags="ro"), v1("/bind", "memory", root="/d"), "/ro"),
        (v1("/first", "memory"), v1("/second", "memory"), "/first"),
        (v1("/a", "cpu,cpuacct"), v1("/b", "cpuacct,cpu"), "/a"),
        (v2("/bind", root="/docker/x"), v2("/whole"), "/whole"),
    ],
)
def test_of_two_mounts_of_a_hierarchy_the_more_useful_is_taken(first, second, chosen):
    (hierarchy,) = layout_of(first, second).hierarchies
    assert hierarchy.mount_point == chosen


def test_read_only_is_seen():
    (hierarchy,) = layout_of(v1("/m", "memory", flags="ro,nosuid")).hierarchies
    assert hierarchy.read_only
    (hierarchy,) = layout_of(v1("/m", "memory", options="ro")).hierarchies
    assert hierarchy.read_only
    (hierarchy,) = layout_of(v1("/m", "memory")).hierarchies
    assert not hierarchy.read_only


def test_octal_escapes_in_the_mount_point():
    found = layout_of(v1(r"/mnt/my\040cgroups/memory", "memory"))
    assert found.find("memory").directory_path("/a") == "/mnt/my cgroups/memory/a"


# ---- paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "path", "directory"),
    [
        ("/", "/", "/m"),
        ("/", "/climits/web", "/m/climits/web"),
        ("/", "/climits/web/", "/m/climits/web"),
        ("/docker/4f1e", "/", "/m"),
        ("/docker/4f1e", "/climits/web", "/m/climits/web"),
        ("/docker/4f1e", "/docker/4f1e", "/m"),
        ("/docker/4f1e", "/docker/4f1e/climits", "/m/climits"),
        ("/docker/4f1e", "/docker/4f1e2/climits", "/m/docker/4f1e2/climits"),
    ],
)
def test_directory_path(root, path, directory):
    (hierarchy,) = layout_of(v1("/m", "memory", root=root)).hierarchies
    assert hierarchy.directory_path(path) == directory


@pytest.mark.parametrize(
    ("directory", "path"),
    [
        ("/m", "/"),
        ("/m/a", "/a"),
        ("/m/a/b", "/a/b"),
        ("/m2/a", None),
        ("/", None),
        ("/sys/fs/cgroup", None),
        ("m/a", None),
    ],
)
@pytest.mark.parametrize("root", ["/", "/docker/4f1e"])
def test_cgroup_path(root, directory, path):
    (hierarchy,) = layout_of(v1("/m", "memory", root=root)).hierarchies
    assert hierarchy.cgroup_path(directory) == path
    if path is not None:
        assert hierarchy.directory_path(path) == directory


@pytest.mark.parametrize("path", ["/..", "/../x", "/a/../..", "/docker/4f1e/../x"])
@pytest.mark.parametrize("root", ["/", "/docker/4f1e"])
def test_no_path_climbs_out_of_the_mount_point(root, path):
    (hierarchy,) = layout_of(v1("/m", "memory", root=root)).hierarchies
    for ask in (hierarchy.directory_path, hierarchy.directory_of):
        with pytest.raises(CgroupError, match="outside of what can be seen") as caught:
            ask(path)
        assert "/m shows a part" in caught.value.hint
    assert hierarchy.directory_path("/..a/b..") == "/m/..a/b.."


@pytest.mark.parametrize(
    ("root", "path", "directory"),
    [
        ("/", "/a", "/m/a"),
        ("/docker/4f1e", "/docker/4f1e", "/m"),
        ("/docker/4f1e", "/docker/4f1e/a", "/m/a"),
        ("/..", "/..", "/m"),  # a mount of the whole, seen from a cgroup namespace one level down
        ("/..", "/../b", "/m/b"),
        ("/docker/4f1e", "/", None),
        ("/docker/4f1e", "/docker", None),
        ("/docker/4f1e", "/docker/4f1e2", None),
        ("/..", "/", None),
        ("/..", "/../../b", None),
    ],
)
def test_what_the_kernel_names_is_found_below_the_mounts_root_alone(root, path, directory):
    (hierarchy,) = layout_of(v1("/m", "memory", root=root)).hierarchies
    if directory is not None:
        assert hierarchy.directory_of(path) == directory
        return
    with pytest.raises(CgroupError, match="outside of what can be seen"):
        hierarchy.directory_of(path)


# ---- capabilities and backends -------------------------------------------------------------


def test_what_v1_and_v2_can_do(unified_at):
    found = layout_of(v1("/m", "memory"), v2(unified_at("")))
    old, new = found.hierarchies
    assert (old.born_inside, old.delegates, old.join_file) == (False, False, "tasks")
    assert (new.born_inside, new.delegates, new.join_file) == (True, True, "cgroup.procs")
    assert repr(old) == "<v1 memory at /m>"
    assert repr(new) == f"<v2 - at {new.mount_point}>"


def test_the_backend_is_that_of_the_version(unified_at, tmp_path):
    old, new = layout_of(v1("/m", "memory"), v2(unified_at("memory"))).hierarchies
    directory = Directory(str(tmp_path))
    kinds = [
        ("memory", MemoryV1, MemoryV2),
        ("freezer", freezer.FreezerV1, freezer.FreezerV2),
        ("cpu", cpu.CpuV1, cpu.CpuV2),
        ("cpuset", cpuset.CpusetV1, cpuset.Cpuset),
    ]
    for name, first, second in kinds:
        for hierarchy, kind in ((old, first), (new, second), (old, first)):
            backend = getattr(hierarchy, name)(directory)
            assert type(backend) is kind and backend.directory is directory


# ---- what is missing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "cause", "hint"),
    [
        ([], "this kernel was built without it", "use a kernel that has it"),
        (
            [("pids", 0, 1, False)],
            "it is switched off on the kernel's command line",
            "remove cgroup_disable=pids from the command line and boot again",
        ),
        (
            [("pids", 0, 1, True)],
            "no mounted hierarchy has it",
            "mkdir -p /sys/fs/cgroup/pids && mount -t cgroup -o pids pids /sys/fs/cgroup/pids",
        ),
    ],
)
def test_a_missing_controller_is_refused_with_its_cause(monkeypatch, table, cause, hint):
    monkeypatch.setattr(layout, "controller_table", lambda: table)
    found = layout_of(v1("/m", "memory"))
    assert found.holding("memory").mount_point == "/m"
    with pytest.raises(UnsupportedError) as caught:
        found.holding("pids")
    assert str(caught.value) == f"the pids controller is not available: {cause}"
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("controller", "table", "cause", "hint"),
    [
        ("freezer", [("freezer", 0, 9, True)], "cgroup v2 has none", "climits freeze"),
        ("cpuacct", [("cpuacct", 0, 9, True)], "cgroup v2 has none", "cpu.stat"),
        ("blkio", [("blkio", 0, 9, True)], "here it is called io", "write io"),
        ("pids", [("pids", 0, 9, True)], "it is not in POINT/cgroup.controllers", "write +pids"),
        # Since 6.12 what has no v1 side is not listed.
        ("memory", [], "it is not in POINT/cgroup.controllers", "cgroup.subtree_control"),
        ("memory", [("memory", 0, 9, False)], "command line", "cgroup_disable=memory"),
        # A v1 hierarchy that is not mounted here holds it.
        ("pids", [("pids", 7, 9, True)], "no mounted hierarchy has it", "-o pids"),
        ("nonsense", [], "this kernel was built without it", "use a kernel"),
    ],
)
def test_on_v2_the_remedies_are_those_of_v2(
    unified_at, monkeypatch, controller, table, cause, hint
):
    monkeypatch.setattr(layout, "controller_table", lambda: table)
    point = unified_at("cpu io")
    with pytest.raises(UnsupportedError) as caught:
        layout_of(v2(point)).holding(controller)
    assert cause.replace("POINT", point) in str(caught.value)
    assert hint in caught.value.hint


def test_io_is_called_blkio_on_v1(monkeypatch):
    monkeypatch.setattr(layout, "controller_table", lambda: [("blkio", 3, 9, True)])
    with pytest.raises(UnsupportedError, match="here it is called blkio"):
        layout_of(v1("/b", "blkio")).holding("io")


def test_without_any_cgroup_filesystem_the_hint_is_to_mount_one():
    with pytest.raises(UnsupportedError) as caught:
        layout_of().holding("memory")
    assert str(caught.value) == "no cgroup filesystem is mounted, so no memory limit can be set"
    assert caught.value.hint == "mount -t cgroup2 cgroup2 /sys/fs/cgroup"


def test_the_layout_of_this_host_is_read_once():
    assert layout.current() is layout.current()
    points = {m.point for m in cgroup_mounts()}
    assert {h.mount_point for h in layout.current().hierarchies} <= points
