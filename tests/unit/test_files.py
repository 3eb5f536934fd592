"""Directory is tried on ordinary directories, which answer as cgroups do but for the values."""

import errno
import gc
import os

import pytest

from climits.cgroup import files
from climits.cgroup.files import Directory, pick, refusal
from climits.errors import (
    CgroupError,
    CgroupExistsError,
    CgroupGoneError,
    CgroupPermissionError,
)


@pytest.fixture
def cgroup(tmp_path):
    path = tmp_path / "web"
    path.mkdir()
    (path / "memory.max").write_text("4096\n")
    return Directory(str(path))


@pytest.mark.parametrize(
    ("number", "kind", "cause"),
    [
        (errno.EACCES, CgroupPermissionError, "permission denied"),
        (errno.EPERM, CgroupPermissionError, "operation not permitted"),
        (errno.EROFS, CgroupPermissionError, "the cgroup filesystem is mounted read-only"),
        (errno.EEXIST, CgroupExistsError, "file exists"),
        (errno.ENODEV, CgroupGoneError, "the cgroup was removed"),
        (errno.EBUSY, CgroupError, "the kernel says it is in use"),
        (errno.EINVAL, CgroupError, "the kernel refuses the value"),
        (errno.ENOENT, CgroupError, "no such file or directory"),
        (errno.EIO, CgroupError, os.strerror(errno.EIO).lower()),
    ],
)
def test_refusal(number, kind, cause):
    error = refusal("cannot write 5", "/m/web/memory.max", OSError(number, "x"), 5)
    assert type(error) is kind
    assert str(error) == f"cannot write 5: /m/web/memory.max: {cause}"
    assert (error.path, error.value, error.errno) == ("/m/web/memory.max", 5, number)
    wants_hint = kind is CgroupPermissionError
    assert bool(error.hint) is wants_hint


def test_opening_what_is_not_there(tmp_path):
    with pytest.raises(CgroupGoneError) as caught:
        Directory(str(tmp_path / "no"))
    assert str(caught.value) == f"no such cgroup: {tmp_path}/no"
    (tmp_path / "file").touch()
    with pytest.raises(CgroupError) as caught:
        Directory(str(tmp_path / "file"))
    assert caught.value.errno == errno.ENOTDIR


def test_a_file_can_be_read(cgroup):
    assert cgroup.read("memory.max") == b"4096\n"
    assert cgroup.read_int("memory.max") == 4096
    assert cgroup.read_optional("memory.max") == b"4096\n"
    assert cgroup.has("memory.max") and not cgroup.has("memory.peak")


@pytest.mark.parametrize("size", [0, 1, 3999, 4000, 8192, 8193, 300_000])
def test_a_file_is_read_whole(cgroup, size):
    data = b"x" * size
    with open(f"{cgroup.path}/long", "wb") as file:
        file.write(data)
    assert cgroup.read("long") == data


def test_a_file_that_this_kernel_does_not_have(cgroup):
    with pytest.raises(CgroupError) as caught:
        cgroup.read("memory.peak")
    assert type(caught.value) is CgroupError and caught.value.errno == errno.ENOENT
    assert str(caught.value) == (
        f"cannot read: {cgroup.path}/memory.peak: no such file or directory"
    )
    assert cgroup.read_optional("memory.peak") is None
    assert cgroup.read_many(("memory.max", "memory.peak")) == [b"4096\n", None]


def test_files_that_are_held_are_read_once_as_they_are_then(cgroup):
    def descriptors():
        gc.collect()  # what other tests have left
        return len(os.listdir("/proc/self/fd"))

    before = descriptors()
    cgroup.hold(("memory.max", "memory.peak"))
    assert descriptors() == before + 1  # the other is not there
    cgroup.write("memory.max", "8192")
    assert cgroup.read_many(("memory.max", "memory.peak")) == [b"8192\n", None]
    assert descriptors() == before
    cgroup.write("memory.max", "4096")
    assert cgroup.read_many(("memory.max",)) == [b"4096\n"]
    cgroup.hold(("memory.max",))
    cgroup.close()
    assert descriptors() == before - 1


def test_a_value_can_be_written_and_read_back(cgroup):
    assert cgroup.write("memory.max", "8192") == b""
    assert cgroup.write("memory.max", "8193", read_back=True) == b"8193\n"  # one byte stays
    with pytest.raises(CgroupError) as caught:
        cgroup.write("memory.high", "5")
    assert str(caught.value).startswith("cannot write 5: ")
    assert caught.value.value == "5" and not os.path.exists(f"{cgroup.path}/memory.high")


def test_a_removed_cgroup_is_gone_even_if_one_of_its_name_is_made(cgroup):
    assert not cgroup.is_gone()
    os.rename(cgroup.path, cgroup.path + "-moved")
    assert cgroup.is_gone()
    os.mkdir(cgroup.path)
    assert cgroup.is_gone()
    os.remove(cgroup.path + "-moved/memory.max")
    for use in (
        lambda: cgroup.read("memory.max"),
        lambda: cgroup.read_optional("memory.max"),
        lambda: cgroup.read_many(("memory.max",)),
        lambda: cgroup.write("memory.max", "1"),
        lambda: cgroup.open_file("memory.max"),
    ):
        with pytest.raises(CgroupGoneError, match="the cgroup was removed"):
            use()


def test_children_and_pids(cgroup):
    assert cgroup.children() == []
    for name in ("a", "b c"):
        os.mkdir(f"{cgroup.path}/{name}")
    os.symlink("a", f"{cgroup.path}/link")
    assert sorted(cgroup.children()) == ["a", "b c"]
    assert cgroup.child("a").path == f"{cgroup.path}/a"
    with open(f"{cgroup.path}/cgroup.procs", "w") as file:
        file.write("12\n345\n")
    assert cgroup.pids() == [12, 345]


def test_a_mark_is_kept_with_the_directory(cgroup):
    assert cgroup.get_mark("user.climits") is None
    if not cgroup.set_mark("user.climits", b"12 34 56"):
        pytest.skip("this filesystem has no user extended attributes")
    assert cgroup.get_mark("user.climits") == b"12 34 56"
    assert Directory(cgroup.path).get_mark("user.climits") == b"12 34 56"


def test_closing_twice_is_fine(cgroup):
    fd = cgroup.fd
    cgroup.close()
    cgroup.close()
    assert cgroup.fd == -1
    with pytest.raises(OSError):
        os.fstat(fd)


def test_making_and_removing(tmp_path):
    path = str(tmp_path / "a")
    files.make(path)
    with pytest.raises(CgroupExistsError):
        files.make(path)
    with pytest.raises(CgroupGoneError, match="no parent"):
        files.make(str(tmp_path / "no" / "a"))
    os.mkdir(path + "/b")
    assert files.remove(path) is False
    os.rmdir(path + "/b")
    assert files.remove(path) is True
    assert files.remove(path) is True
    (tmp_path / "file").touch()
    with pytest.raises(CgroupError):
        files.remove(str(tmp_path / "file"))


STAT = b"cache 12\nrss 34\ntotal_cache 56\ntotal_rss 0\nlast 7"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"cache ", 12),
        (b"rss ", 34),
        (b"total_cache ", 56),
        (b"total_rss ", 0),
        (b"last ", 7),
        (b"swap ", None),
        (b"ache ", None),
    ],
)
def test_pick(key, value):
    assert pick(STAT, key) == value
    assert pick(STAT + b"\n", key) == value


def test_pick_of_nothing():
    assert pick(b"", b"rss ") is None
