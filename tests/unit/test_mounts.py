import pytest

from climits.linux import mounts
from climits.linux.mounts import cgroup_mounts, kernel_controllers

LINE = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu"


def only(text):
    (mount,) = cgroup_mounts(text)
    return mount


@pytest.mark.parametrize(
    ("line", "point", "root", "fstype", "read_only"),
    [
        (LINE, "/sys/fs/cgroup/cpu", "/", "cgroup", False),
        (
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 "
            "cgroup2 rw,nsdelegate,memory_recursiveprot",
            "/sys/fs/cgroup",
            "/",
            "cgroup2",
            False,
        ),
        (
            "700 699 0:33 /docker/4f1e /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup "
            "rw,memory",
            "/sys/fs/cgroup/memory",
            "/docker/4f1e",
            "cgroup",
            True,
        ),
        (
            "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup ro,cpu",
            "/sys/fs/cgroup/cpu",
            "/",
            "cgroup",
            True,
        ),
        (
            r"32 31 0:29 /a\040b /mnt/c\011d\012e\134f rw - cgroup cgroup rw,cpu",
            "/mnt/c\td\ne\\f",
            "/a b",
            "cgroup",
            False,
        ),
        (
            r"32 31 0:29 / /mnt/\134040 rw - cgroup cgroup rw,cpu",
            r"/mnt/\040",
            "/",
            "cgroup",
            False,
        ),
        ("32 31 0:29 / /cg rw a:1 b:2 c:3 - cgroup  rw,cpu", "/cg", "/", "cgroup", False),
        ("32 31 0:29 / /mnt/a\udcffb rw - cgroup2 none rw", "/mnt/a\udcffb", "/", "cgroup2", False),
    ],
)
def test_a_line_of_mountinfo(line, point, root, fstype, read_only):
    mount = only(line)
    assert (mount.point, mount.root, mount.fstype) == (point, root, fstype)
    assert mount.read_only is read_only


def test_options_are_those_of_the_filesystem():
    text = "38 31 0:34 / /sys/fs/cgroup/x rw,relatime - cgroup cgroup rw,cpu,cpuacct,xattr"
    assert only(text).options == {"rw", "cpu", "cpuacct", "xattr"}


def test_no_other_character_is_escaped():
    assert only(r"32 31 0:29 / /mnt/a\130\040\134040b rw - cgroup cgroup rw,cpu").point == (
        "/mnt/a\\130 \\040b"
    )


@pytest.mark.parametrize("char", ["\u00a0", "\u2028", "\x0c", "\x85", "\x1c"])
def test_only_what_the_kernel_escapes_ends_a_field_or_a_line(char):
    mount = only(f"32 31 0:29 / /mnt/a{char}b rw - cgroup cgroup rw,cpu")
    assert mount.point == f"/mnt/a{char}b"
    assert mount.options == {"rw", "cpu"}


def test_other_filesystems_are_left_out_and_the_order_is_kept():
    text = "\n".join(
        [
            "22 1 8:1 / / rw,relatime - ext4 /dev/root rw",
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755",
            LINE,
            "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
            "50 22 0:50 / /srv/cgroup rw - tmpfs cgroup rw",
            "",
        ]
    )
    assert [m.point for m in cgroup_mounts(text)] == [
        "/sys/fs/cgroup/cpu",
        "/sys/fs/cgroup/unified",
    ]
    assert list(cgroup_mounts("")) == []


def test_mountinfo_of_this_process_is_read():
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        text = file.read()
    assert [m.point for m in cgroup_mounts()] == [m.point for m in cgroup_mounts(text)]


CGROUPS = """\
#subsys_name\thierarchy\tnum_cgroups\tenabled
cpuset\t3\t1\t1
memory\t4\t7\t0
pids\t0\t1\t1
"""


def test_kernel_controllers():
    assert kernel_controllers(CGROUPS) == {"cpuset": True, "memory": False, "pids": True}
    assert kernel_controllers("") == {}


def test_a_kernel_without_the_file_has_no_controllers(monkeypatch):
    def absent(*args, **options):
        raise FileNotFoundError(2, "No such file", "/proc/cgroups")

    monkeypatch.setattr(mounts, "open", absent, raising=False)
    assert kernel_controllers() == {}
