import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.cgroup import homes, placement
from climits.cgroup.find import is_process
from climits.cgroup.homes import default_parent
from climits.cgroup.layout import Layout
from climits.cgroup.naming import check_component, check_name, check_path, locate
from climits.cgroup.ownership import KEPT, owner_mark, owner_pid, owner_state
from climits.errors import CgroupPermissionError, InvalidValueError
from climits.linux.mounts import cgroup_mounts
from climits.linux.proc import pid_namespace, start_time

LAYOUT = Layout(
    cgroup_mounts(
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "36 31 0:33 /docker/x /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
        "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    )
)


SHOWN = "characters that cannot be shown may not stand in a name"


# ---- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["web", "a", "web-4927-1", "a b", "w\u00e9b", "...", "..a", "-x", "cgroup", "cgroups", "task",
     "a" * 255, "\u00e9" * 127, "%n", "\\", "a:b", "1a", "1.5", "\u00b2", "pid", "pid-5"],
)  # fmt: skip
def test_a_name(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("", "empty"),
        ("a/b", "a slash may not stand in a name"),
        ("/", "a slash may not stand in a name"),
        ("/a", "a slash may not stand in a name"),
        ("a/", "a slash may not stand in a name"),
        ("../x", "a slash may not stand in a name"),
        (".", "not a name"),
        ("..", "not a name"),
        ("a\nb", SHOWN),
        ("a\0", SHOWN),
        ("\x1b[31m", SHOWN),
        ("a\tb", SHOWN),
        ("\x7f", SHOWN),
        ("\u202e", SHOWN),
        ("\u2028", SHOWN),
        ("\udcff", SHOWN),
        ("a" * 256, "longer than 255 bytes"),
        ("\u00e9" * 128, "longer than 255 bytes"),
        ("cgroup.procs", "the kernel's own files have names of that form"),
        ("cgroup.", "the kernel's own files have names of that form"),
        ("memory.stat", "the kernel's own files have names of that form"),
        ("tasks", "the kernel has a file of that name in each cgroup"),
        ("notify_on_release", "the kernel has a file of that name in each cgroup"),
        ("release_agent", "the kernel has a file of that name in each cgroup"),
        ("5", "stands for a process"),
        ("007", "stands for a process"),
        ("pid:5", "stands for a process"),
        ("pid:web", "stands for a process"),
        ("pid:", "stands for a process"),
    ],
)
def test_what_is_no_name(name, cause):
    with pytest.raises(InvalidValueError) as caught:
        check_name(name, what="--name")
    assert str(caught.value) == f"--name: {name!r}: {cause}"
    assert str(caught.value).isprintable()
    assert caught.value.value == name and caught.value.hint


def test_a_component_of_a_path_may_be_a_number():
    assert check_component("5") == "5" and check_component("pid:5") == "pid:5"
    with pytest.raises(InvalidValueError):
        check_component("a/5")


def test_an_overlong_name_is_not_echoed_whole():
    for check in (check_name, lambda name: check_path(f"/{name}\n", LAYOUT, what="path")):
        with pytest.raises(InvalidValueError) as caught:
            check("a" * 4500)
        assert len(str(caught.value)) < 400 and "aaa...aaa" in str(caught.value)


@given(st.text())
def test_no_name_is_read_as_a_process(text):
    try:
        name = check_name(text)
    except InvalidValueError:
        return
    assert not is_process(name) and not name.startswith("pid:")


@given(st.text())
def test_any_text_is_one_safe_component_or_refused(text):
    try:
        name = check_name(text)
    except InvalidValueError:
        return
    assert name == text and os.path.join("/a", name).count("/") == 2
    assert os.path.normpath(f"/a/{name}") == f"/a/{name}"
    assert len(os.fsencode(name)) <= 255


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/", "/"),
        ("/jobs/web", "/jobs/web"),
        ("jobs/web", "/jobs/web"),
        ("/jobs/web/", "/jobs/web"),
        ("//jobs///web", "/jobs/web"),
        ("/jobs/./web/.", "/jobs/web"),
        (".", "/"),
        ("/...", "/..."),
        ("/jobs/w\u00e9b", "/jobs/w\u00e9b"),
        ("/sys/fs/cgroup/memory/jobs/web", "/jobs/web"),
        ("/sys/fs/cgroup/memory/jobs/web/", "/jobs/web"),
        ("/sys/fs/cgroup/memory", "/"),
        ("/sys/fs/cgroup/memory/", "/"),
        ("/sys/fs/cgroup/pids/a", "/a"),
        ("/sys/fs/cgroup/memory2/a", "/memory2/a"),  # of the v2 hierarchy above
        ("/sys/fs/cgroup", "/"),
        ("/mnt/cgroup/a", "/mnt/cgroup/a"),
        ("sys/fs/a", "/sys/fs/a"),
        ("/sys/fs/cgroup/cpu/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory"),
    ],
)
def test_a_path(path, clean):
    assert check_path(path, LAYOUT, what="parent") == clean


@pytest.mark.parametrize(
    "path",
    ["", "..", "/..", "/a/../b", "../a", "a/..", "/sys/fs/cgroup/memory/../cpu", "/a\nb", "/a\0",
     "/\udcff"],
)  # fmt: skip
def test_what_is_no_path(path):
    with pytest.raises(InvalidValueError) as caught:
        check_path(path, LAYOUT, what="parent")
    assert str(caught.value).startswith("parent: ") and "not a cgroup path" in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.hint == "write it like /jobs/web"


@pytest.mark.parametrize(
    ("path", "hierarchy", "inside"),
    [
        ("/sys/fs/cgroup/memory/jobs/web", "memory", "/jobs/web"),
        ("/sys/fs/cgroup/pids", "pids", "/"),
        ("/sys/fs/cgroup/x", "unified", "/x"),
        ("/jobs/web", None, "/jobs/web"),
        ("jobs/web", None, "/jobs/web"),
    ],
)
def test_a_directory_below_a_mount_point_tells_its_hierarchy(path, hierarchy, inside):
    found, clean = locate(path, LAYOUT, what="cgroup")
    assert (found and found.label, clean) == (hierarchy, inside)


@pytest.mark.parametrize("path", ["/sys/fs/cgroup/climits-x", "/sys/fs/cgroup", "/sys/fs/cgroup/"])
def test_a_directory_beside_the_mount_points_is_no_cgroup(path):
    apart = Layout(
        cgroup_mounts(
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
            "33 31 0:30 / /m rw - cgroup cgroup rw,pids\n"  # its parent is /, which bars nothing
        )
    )
    with pytest.raises(InvalidValueError, match="a directory in no hierarchy") as caught:
        check_path(path, apart, what="name")
    assert "/jobs/web" in caught.value.hint
    assert check_path("/jobs", apart, what="name") == "/jobs"


@given(st.text(st.sampled_from("ab./ \n"), max_size=12))
def test_any_path_stays_below_the_root(path):
    try:
        clean = check_path(path, LAYOUT, what="parent")
    except InvalidValueError:
        assert ".." in path or "\n" in path or not path
    else:
        assert clean.startswith("/") and os.path.normpath(clean) == clean
        assert check_path(clean, LAYOUT, what="parent") == clean


# ---- marks ---------------------------------------------------------------------------------


def mark(pid, started, namespace=None):
    return b"%d %d %d" % (pid, started, namespace if namespace is not None else pid_namespace())


def a_dead_pid():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_our_own_mark_is_alive():
    assert owner_mark() == mark(os.getpid(), start_time())
    assert owner_state(owner_mark()) == "alive"
    assert owner_pid(owner_mark()) == os.getpid()


@pytest.mark.parametrize(
    ("data", "state"),
    [
        (lambda: mark(os.getppid(), start_time(os.getppid())), "alive"),
        (lambda: mark(os.getpid(), start_time() + 1), "dead"),  # our pid, but it was another's
        (lambda: mark(os.getpid(), 0), "dead"),
        (lambda: mark(a_dead_pid(), 5), "dead"),
        (lambda: mark(2**22 + 1, 5), "dead"),
        (lambda: mark(os.getpid(), start_time(), pid_namespace() + 1), "foreign"),
        (lambda: mark(a_dead_pid(), 5, 0), "foreign"),
        (lambda: KEPT, "kept"),
        (lambda: None, "none"),
        (lambda: b"", "none"),
        (lambda: b"1 2", "none"),
        (lambda: b"1 2 3 4", "none"),
        (lambda: b"one two three", "none"),
        (lambda: b"1.5 2 3", "none"),
        (lambda: b"\xff\xfe", "none"),
        (lambda: b"kept ", "none"),
    ],
)
def test_owner_state(data, state):
    assert owner_state(data()) == state


@given(st.binary())
def test_any_mark_has_a_state(data):
    assert owner_state(data) in ("none", "dead", "foreign", "kept", "alive")
    owner_pid(data)


@pytest.mark.parametrize(
    ("data", "pid"),
    [(b"12 34 56", 12), (b"12", 12), (None, None), (b"", None), (KEPT, None), (b"-1 2 3", None),
     (b"x 2 3", None)],
)  # fmt: skip
def test_owner_pid(data, pid):
    assert owner_pid(data) == pid


def test_a_fork_has_its_own_mark():
    ours = owner_mark()
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, owner_mark())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as pipe:
        theirs = pipe.read()
    os.waitpid(pid, 0)
    assert owner_pid(theirs) == pid and owner_pid(ours) == os.getpid()
    assert owner_mark() == ours
    assert owner_state(theirs) == "dead"


# ---- the default parent --------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A hierarchy in ordinary directories, and a user who may write in some of them."""
    text = f"32 31 0:29 / {tmp_path} rw - cgroup cgroup rw,memory"
    allowed = set()
    monkeypatch.setattr(homes.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(homes.os, "access", lambda path, mode: path in allowed)
    monkeypatch.setattr(homes, "cgroup_paths", lambda: {"memory": "/user/u1", "": "/"})

    def allow(*paths):
        for path in paths:
            (tmp_path / path.strip("/")).mkdir(parents=True, exist_ok=True)
            allowed.add(f"{tmp_path}{path}")

    return Layout(cgroup_mounts(text)).hierarchies, allow


def test_an_ordinary_user_works_in_what_was_given_to_them(tree):
    hierarchies, allow = tree
    with pytest.raises(CgroupPermissionError) as caught:
        default_parent(hierarchies)
    assert "neither /climits nor the cgroup of this process is ours" in str(caught.value)
    assert "delegated" in caught.value.hint
    allow("/user/u1")
    assert default_parent(hierarchies) == "/user/u1/climits"
    allow("/climits")
    assert default_parent(hierarchies) == "/climits"


def test_a_cgroup_that_is_there_but_not_ours_is_no_parent(tree):
    hierarchies, allow = tree
    allow("/user/u1", "/user/u1/climits")
    assert default_parent(hierarchies) == "/user/u1/climits"


def test_root_needs_no_delegation(monkeypatch):
    monkeypatch.setattr(homes.os, "geteuid", lambda: 0)
    assert default_parent(LAYOUT.hierarchies) == placement.HOME == "/climits"
