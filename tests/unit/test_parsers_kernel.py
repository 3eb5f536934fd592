"""What the kernel and the files of the system tell, written as they write it and read again."""

import gzip
import string
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from climits.cgroup.causes import _CAUSES, COUNTERPARTS, likely_cause
from climits.cgroup.cpu import stat_times
from climits.cgroup.files import pick, stat_fields
from climits.cgroup.memory import parse_limit
from climits.cgroup.ownership import owner_pid, owner_state, split_announcement
from climits.errors import InvalidValueError
from climits.launch.signals import mask_of
from climits.linux import proc
from climits.linux.kernel_config import (
    config_paths,
    parameter,
    parse_config,
    read_config,
    split_command_line,
)
from climits.linux.kmsg import _unescape, parse_oom_kills
from climits.linux.mounts import Mount, cgroup_mounts, controller_table
from climits.observe.discover import unescape
from climits.observe.setup.identities import _parse as parse_subordinate
from climits.observe.setup.identities import free_range
from climits.program.identity import _gid, _user, identity
from climits.program.idmaps import _subordinate
from climits.program.seccomp_profile import _version
from climits.units import MAX_BYTES, UNLIMITED

#: Digits that str.isdigit() takes for some, and that int() may not.
DIGITS = ("\u00b2", "\u0665", "9" * 5000, "1_0", "+5", "-1", " 5", "")
names = st.text(st.characters(exclude_characters="\n\0:", codec="utf-8"), min_size=1, max_size=8)
parts = st.text(st.characters(exclude_characters="\n\0/", codec="utf-8"), min_size=1, max_size=6)
paths = st.lists(parts, max_size=3).map(lambda parts: "/" + "/".join(parts))


# ---- /proc ---------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 99), st.lists(st.sampled_from(
    ["memory", "cpu", "name=systemd", "pids"]), max_size=2), paths), max_size=5))  # fmt: skip
def test_the_cgroups_of_a_process_come_back(entries):
    text = "".join(f"{n}:{','.join(c)}:{path}\n" for n, c, path in entries)
    again = proc.cgroup_entries(text.encode())
    assert again == [(n, ",".join(c), path) for n, c, path in entries]


def escaped(text, also=""):
    """As seq_escape() writes it."""
    return "".join(f"\\{ord(c):03o}" if c in " \t\n\\" + also else c for c in text)


@given(paths, paths, names, st.sampled_from(["cgroup", "cgroup2"]))
@example("/a\\040b", "/ \\134", "none#1", "cgroup")
def test_a_mount_comes_back_whatever_its_path_holds(root, point, source, fstype):
    fields = f"29 23 0:26 {escaped(root)} {escaped(point)} rw,nosuid shared:4 -"
    line = f"{fields} {fstype} {escaped(source, '#')} ro,memory"
    (mount,) = cgroup_mounts(f"1 0 8:1 / / rw - ext4 /dev/sda rw\n{line}\n")
    assert (mount.root, mount.point, mount.source) == (root, point, source)
    assert (mount.fstype, mount.options) == (fstype, {"ro", "memory"})
    assert mount.flags == {"rw", "nosuid"} and mount.read_only


def test_a_mount_is_read_only_where_either_side_is():
    line = "29 23 0:26 / /x {} - tmpfs none {}"
    assert not Mount(line.format("rw", "rw")).read_only
    assert Mount(line.format("ro", "rw")).read_only
    assert Mount(line.format("rw", "ro")).read_only


@given(st.lists(st.tuples(st.text(string.ascii_lowercase + "_", min_size=1), st.integers(0, 99),
                          st.integers(0, 10**6), st.booleans())))  # fmt: skip
def test_the_table_of_controllers_comes_back(rows):
    text = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"
    text += "".join(f"{n}\t{h}\t{c}\t{int(e)}\n" for n, h, c, e in rows)
    assert controller_table(text) == rows


@pytest.fixture
def files(monkeypatch):
    """files({path: bytes}) is all there is below /proc."""
    import io

    def give(content):
        def fake(path, mode="r", **options):
            if path not in content:
                raise FileNotFoundError(2, "no such file", path)
            raw = io.BytesIO(content[path])
            return raw if "b" in mode else io.TextIOWrapper(raw, **options)

        monkeypatch.setattr("builtins.open", fake)

    return give


STAT = b"7 (a (b) c) S 1 7 7 0 -1 4194560 9 9 0 0 1 2 0 0 20 0 3 0 5555 1000 21 184467 1 1 1 1 1 0"


def test_what_one_file_tells_of_a_process(files):
    files({"/proc/7/stat": STAT, "/proc/8/stat": STAT.replace(b" 4194560 ", b" 2129984 ")})
    assert proc.summary(7) == ("a (b) c", "S", 1, 3, 21 * 4096, False)
    assert proc.summary(8)[5] is True  # PF_KTHREAD
    assert proc.summary(9) is None
    files({"/proc/7/stat": STAT.replace(b"(a (b) c)", b"(\xff)")})
    assert proc.summary(7)[0] == "\ufffd"


def test_the_status_the_arguments_and_the_name_of_a_process(files):
    files({
        "/proc/7/status": b"Name:\ta:b\nUid:\t0\t1\t2\t3\nRssAnon:\t     112 kB\n",
        "/proc/7/cmdline": b"sh\0-c\0\0x\xff\0", "/proc/8/cmdline": b"", "/proc/9/cmdline": b"sh",
        "/proc/7/comm": b" a\nb \n",
    })  # fmt: skip
    assert proc.status(7) == {"Name": "a:b", "Uid": "0\t1\t2\t3", "RssAnon": "112 kB"}
    assert proc.arguments(7) == ["sh", "-c", "", "x\udcff"]
    assert (proc.arguments(8), proc.arguments(9)) == ([], ["sh"])  # it may write over its own
    assert (proc.command_name(7), proc.command_name(8)) == (" a\nb ", None)
    assert (proc.status(8), proc.arguments(10)) == ({}, [])


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.5", (6, 18)), ("5.4-rc1", (5, 4)), ("6.1.0-31-amd64", (6, 1)), ("6.12-x.3", (6, 12))],
)
def test_the_version_of_the_kernel(monkeypatch, release, version):
    uname = proc.os.uname()
    fields = list(uname)
    fields[2] = release
    monkeypatch.setattr(proc.os, "uname", lambda: type(uname)(fields))
    assert proc.kernel_version() == version


# ---- files of a cgroup ---------------------------------------------------------------------

fields = st.dictionaries(st.text(string.ascii_lowercase + "_", min_size=1), st.integers(0, 2**63))


@given(fields, st.text(string.ascii_lowercase + "_", min_size=1))
@example({"xanon": 1, "anon": 2}, "anon")
@example({"anon_thp": 1}, "anon")
def test_the_fields_of_a_file_come_back(values, other):
    data = "".join(f"{key} {value}\n" for key, value in values.items()).encode()
    assert stat_fields(data) == values
    for key, value in values.items():
        assert pick(data, f"{key} ".encode()) == value
    assert pick(data, f"{other} ".encode()) == values.get(other)


@given(st.integers(0, 2**64 - 1))
@example(MAX_BYTES)
@example(MAX_BYTES - 1)
def test_a_limit_comes_back(size):
    assert parse_limit(b"%d\n" % size) == (UNLIMITED if size >= MAX_BYTES else size)
    assert parse_limit(b"max\n") == UNLIMITED


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_cpu_times_are_seconds(user, system):
    data = b"usage_usec %d\nuser_usec %d\nsystem_usec %d\n" % (user + system, user, system)
    assert stat_times(data) == (user / 1e6, system / 1e6)
    assert stat_times(b"") == (0.0, 0.0)


@given(st.binary(max_size=30) | st.sampled_from([b"\xc2\xb2", b"9" * 5000, b"1 2", b"1 2 3 4"]))
def test_any_mark_is_one_or_none(mark):
    assert owner_state(mark) in ("kept", "none", "foreign", "alive", "dead")
    pid = owner_pid(mark)
    assert pid is None or mark.startswith((str(pid).encode(), b"0"))


@given(st.integers(1), st.integers(0), st.integers(0), names)
def test_an_announcement_comes_back(pid, started, namespace, name):
    mark = b"%d %d %d" % (pid, started, namespace)
    assert split_announcement(mark + b" " + name.encode()) == (mark, name)


@given(st.sets(st.integers(1, 64)))
def test_a_mask_has_a_bit_for_each_signal(signals):
    mask = mask_of(signals)
    assert {n for n in range(1, 65) if mask >> (n - 1) & 1} == signals


# ---- the kernel log ------------------------------------------------------------------------


@given(st.binary())
def test_what_the_log_escapes_comes_back(data):
    """As msg_add_ext_text() writes it: what is not printable ASCII, and the backslash."""
    text = b"".join(
        b"\\x%02x" % c if not 0x20 <= c < 0x7F or c == 0x5C else bytes([c]) for c in data
    )
    assert _unescape(text) == data


@given(st.integers(1, 2**22), st.sampled_from(DIGITS), st.sampled_from(DIGITS), names)
def test_a_line_that_somebody_else_wrote_is_no_kill(pid, number, other, name):
    """Root may write into the log what he likes; it must not stop anybody."""
    log = [
        f"memory: usage {number}kB, limit {other}kB, failcnt 0",
        f"oom-kill:constraint=X,task_memcg=/web,task={name},pid={other},uid=0",
        f"oom-kill:constraint=X,oom_memcg=/web,task_memcg=/web,task={name},pid={pid},uid=0",
        f"Killed process {number} ({name}) total-vm:1kB, anon-rss:1kB",
        f"Killed process {pid} ({name}) total-vm:{number}kB, anon-rss:{number}kB",
    ]
    assert [kill.pid for kill in parse_oom_kills(log, "/web")] in ([], [pid])


# ---- how the kernel was built --------------------------------------------------------------

options = st.dictionaries(
    st.text(string.ascii_uppercase + string.digits + "_", min_size=1).map("CONFIG_{}".format),
    st.sampled_from(["y", "m", "1024", "0x10", "cgroup_disable=memory"]),
)


@given(options)
def test_the_configuration_of_a_kernel_comes_back(values):
    text = "#\n# Automatically generated file\n# CONFIG_X is not set\n\n"
    for name, value in values.items():
        text += f"{name}={value}\n" if value in ("y", "m", "1024") else f'{name}="{value}"\n'
    assert parse_config(text) == values


def test_what_is_no_option_is_left_out_of_the_configuration():
    text = 'CONFIG_ALONE\nOTHER=1\nCONFIG_A=y\nCONFIG_B="XaX"\n'
    assert parse_config(text) == {"CONFIG_A": "y", "CONFIG_B": "XaX"}


def test_the_first_configuration_that_can_be_read_is_taken(tmp_path):
    packed = gzip.compress(b"CONFIG_MEMCG=y\n")
    places = {
        "absent": None,
        "cut": packed[:-9],
        "short": packed[:4],
        "spoiled": packed[:10] + b"\xff" * 30,
        "empty": b"# CONFIG_MEMCG is not set\n",
        "good": packed,
        "later": b"CONFIG_MEMCG=m\n",
    }
    found = []
    for name, data in places.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        found.append(str(tmp_path / name))
    assert read_config("x", found) == ({"CONFIG_MEMCG": "y"}, str(tmp_path / "good"))
    assert read_config("x", found[-1:]) == ({"CONFIG_MEMCG": "m"}, str(tmp_path / "later"))
    assert read_config("x", found[:-2]) == (None, None)
    assert config_paths("6.1")[:2] == ["/proc/config.gz", "/boot/config-6.1"]
    assert all("6.1" in path for path in config_paths("6.1")[1:])


words = st.lists(
    st.text(st.characters(exclude_characters='"\0', codec="utf-8"), min_size=1, max_size=6)
    .map(lambda w: w.strip()).filter(lambda w: w and w != "--")
)  # fmt: skip


@given(words)
def test_the_words_of_a_command_line_come_back(given):
    line = " ".join(f'"{word}"' if any(c.isspace() for c in word) else word for word in given)
    assert split_command_line(line + "\n") == given
    assert split_command_line(f"{line} -- init --x") == given


def test_quotes_on_a_command_line():
    assert split_command_line('a="b c"d  "e f"=g\n') == ["a=b cd", "e f=g"]
    assert parameter(["a-b=1", "a_b=2", "a_b", "ab=3", "c=a_b=4"], "a-b") == ["1", "2"]
    assert parameter(["cgroup_disable=memory=x"], "cgroup-disable") == ["memory=x"]


@given(st.text(st.sampled_from("0123456789.-rc+\u00b2\u0665")))
def test_any_release_has_a_version_or_none(release):
    version = _version(release)
    assert len(version) in (0, 1, 2) and all(part >= 0 for part in version)


# ---- who is who ----------------------------------------------------------------------------

row = st.tuples(
    st.sampled_from(["app", "root", "7", *DIGITS]), st.sampled_from(["7", "100000", *DIGITS]),
    st.sampled_from(["7", "65536", *DIGITS]), st.sampled_from(["", "app,root", "app"]),
)  # fmt: skip


@given(st.lists(row, max_size=6), st.sampled_from(["app", "7", 7]))
@example([("app", "\u00b2", "7", "")], "app")
@example([("app", "9" * 5000, "7", "")], "app")
def test_whatever_an_image_says_of_its_users(tmp_path_factory, rows, wanted):
    root = tmp_path_factory.mktemp("image")
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("".join(f"{n}:x:{u}:{g}:::\n" for n, u, g, _ in rows))
    (root / "etc/group").write_text("".join(f"{n}:x:{g}:{m}\n" for n, _, g, m in rows))
    found = _user(wanted, str(root))
    if found is not None:
        uid, gid, groups = found
        assert uid >= 0 and gid >= 0 and groups[0] == gid
    try:
        assert _gid(wanted, str(root)) >= 0
    except ValueError as e:
        assert str(e) == f"group: {wanted}: no such group"


def test_a_user_of_an_image(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("short:x\nother:x:8:8::/:\napp:x:7:70::/:/bin/sh\n")
    (tmp_path / "etc/group").write_text("a:x:70:\nb:x:71:x,app\nc:x:72:apps\n")
    root = str(tmp_path)
    assert _user("app", root) == _user(7, root) == _user("007", root) == (7, 70, [70, 71])
    assert _user("nobody", root) is None and _user(9, root) is None
    assert (_gid("b", root), _gid("5", root), _gid(5, root)) == (71, 5, 5)


@pytest.mark.parametrize(
    "options",
    [
        {"user": "4294967295", "group": "1"}, {"user": 2**32, "group": 1}, {"user": -1, "group": 1},
        {"group": "4294967296"}, {"group": -1}, {"extra": [2**32]}, {"user": "9" * 20, "group": 1},
        {"user": 10**30, "group": 1}, {"user": "app", "root": True}, {"group": "app", "root": True},
    ],
)  # fmt: skip
def test_an_id_that_the_kernel_would_take_for_another_is_refused(tmp_path, options):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("app:x:4294967296:7::/:\n")
    (tmp_path / "etc/group").write_text("app:x:4294967296:\n")
    given = {"user": None, "group": None, "extra": None, **options}
    given["root"] = str(tmp_path) if given.get("root") else None
    with pytest.raises(InvalidValueError, match=r"^user or group -?\d+: no such id$") as caught:
        identity(**given)
    assert caught.value.hint == "there are ids from 0 to 4294967294"


@pytest.mark.parametrize("user", ["9" * 5000, "\u00b2", "1_0", "-1", ""])
def test_a_user_that_is_no_number_is_a_name(user):
    with pytest.raises(InvalidValueError, match="no such user"):
        identity(user, None, None)


@given(st.sampled_from([*DIGITS, "root", "0", "7", "4294967295", "nobody"]) | st.text(max_size=5)
       | st.integers(-(2**33), 2**65), st.none() | st.integers(-9, 2**33))  # fmt: skip
def test_any_user_is_ids_or_refused(user, group):
    try:
        uid, gid, groups = identity(user, group, None)
    except InvalidValueError as e:
        assert "no such" in str(e)
    else:
        assert 0 <= uid < 2**32 - 1 and 0 <= gid < 2**32 - 1
        assert groups is None or all(0 <= number < 2**32 - 1 for number in groups)


def test_the_last_id_is_one():
    assert identity("4294967294", "4294967294", None) == (2**32 - 2, 2**32 - 2, [])


@given(st.lists(row, max_size=6))
@example([("app", "\u00b2", "7", "")])
def test_any_file_of_subordinate_ids_is_read(tmp_path_factory, rows):
    text = "# a comment\n" + "".join(f"{name}:{first}:{count}\n" for name, first, count, _ in rows)
    found = parse_subordinate(text)
    assert all(first >= 0 and count >= 0 for _, first, count in found)
    path = tmp_path_factory.mktemp("ids") / "subuid"
    path.write_text(text)
    ranges = _subordinate(str(path), "app", 7, 0)
    assert ranges[0] == (0, 0, 1)
    assert all(a[0] + a[2] == b[0] for a, b in pairwise(ranges))


taken = st.lists(st.tuples(st.integers(90_000, 300_000), st.integers(1, 70_000)), max_size=4)


@given(taken, st.lists(st.integers(90_000, 300_000), max_size=3), st.integers(1, 70_000))
def test_a_free_range_overlaps_none(ranges, real, count):
    text = "".join(f"x:{first}:{number}\n" for first, number in ranges)
    said = f"SUB_UID_COUNT {count}\nSUB_UID_MIN 100000\nSUB_UID_MAX \u00b2\n# SUB_UID_COUNT 1\n"
    first, number = free_range(text, said, real, "UID")
    assume(number == count)
    assert first >= 100_000
    for start, size in [*ranges, *((i, 1) for i in real)]:
        assert first + number <= start or start + size <= first


# ---- names of units ------------------------------------------------------------------------


@given(st.text(st.characters(exclude_characters="\0/", codec="utf-8"), min_size=1))
def test_an_escaped_unit_comes_back(name):
    """As systemd-escape writes it."""
    plain = string.ascii_letters + string.digits + ":_."
    escaped = "".join(
        c if c in plain else "".join(f"\\x{byte:02x}" for byte in c.encode()) for c in name
    )
    assert unescape(escaped) == name


# ---- why the kernel refuses ----------------------------------------------------------------


def test_each_cause_is_of_a_file_and_says_what_to_do():
    for (file, number), hint in _CAUSES.items():
        assert likely_cause(None, file, number) == hint
        assert "." in file or file == "tasks"
        assert hint == hint.strip() and hint[0] == hint[0].lower() and not hint.endswith(".")
    assert likely_cause(None, "memory.max", 5) is None
    assert all(old != new for old, new in COUNTERPARTS.items())


def test_a_wrong_list_of_cpus_is_told_what_there_is(tmp_path):
    import errno
    from types import SimpleNamespace

    inner = tmp_path / "a"
    inner.mkdir()
    part = SimpleNamespace(directory=SimpleNamespace(path=str(inner)))
    assert likely_cause(part, "cpuset.cpus", errno.ERANGE) == "write a list such as 0-1,3"
    (tmp_path / "cpuset.mems").write_text("0-3\n")
    expected = "write a list such as 0-1,3, out of what is above it: 0-3"
    for number in (errno.EINVAL, errno.EACCES, errno.ERANGE):
        assert likely_cause(part, "cpuset.mems", number) == expected
    assert likely_cause(part, "cpuset.mems", errno.EIO) is None
    assert likely_cause(part, "cpuset.other", errno.EINVAL) is None
