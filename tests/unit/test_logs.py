import contextlib
import errno
import os
import resource
import stat
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.supervise.config import LogConfig
from climits.supervise.logs import LogFile, LogPipe
from climits.units import UNLIMITED


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(tmp_path, clock):
    logs = []

    def make(name="out.log", **config):
        logs.append(LogFile(LogConfig(path=str(tmp_path / name), **config), clock))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


def descriptors():
    """{descriptor: what it leads to} of this process."""
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[int(fd)] = os.readlink(f"/proc/self/fd/{fd}")
        except FileNotFoundError:  # of the directory that is listed
            pass
    return found


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- writing -------------------------------------------------------------------------------


def test_what_is_written_is_in_the_file_and_nothing_before_that(make, tmp_path):
    log = make()
    assert files(tmp_path) == {}
    log.write(b"one\n")
    log.write(memoryview(b"two"))
    assert files(tmp_path) == {"out.log": b"one\ntwo"}
    assert (log.dropped, log.error) == (0, None)


def test_it_appends_to_what_is_there(make, tmp_path):
    (tmp_path / "out.log").write_bytes(b"old\n")
    make().write(b"new\n")
    assert files(tmp_path) == {"out.log": b"old\nnew\n"}


def test_the_file_is_for_the_owner_and_the_group_only(make, tmp_path):
    old = os.umask(0)
    try:
        make().write(b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.log").stat().st_mode) == 0o640


def test_no_program_inherits_it(make, tmp_path):
    make().write(b"x")
    (fd,) = [fd for fd, path in descriptors().items() if path == f"{tmp_path}/out.log"]
    assert not os.get_inheritable(fd)


def test_close_gives_the_descriptor_back_and_a_later_write_opens_it_again(make, tmp_path):
    log = make()
    before = descriptors()
    log.write(b"a\n")
    log.close()
    log.close()
    assert descriptors() == before
    log.write(b"b\n")
    assert files(tmp_path) == {"out.log": b"a\nb\n"}


# ---- rotation ------------------------------------------------------------------------------


def test_full_files_move_on_and_the_oldest_goes(make, tmp_path):
    log = make(max_size=8, keep=2)
    for number in range(5):
        log.write(b"line %d\n" % number)
    assert files(tmp_path) == {
        "out.log": b"line 4\n",
        "out.log.1": b"line 3\n",
        "out.log.2": b"line 2\n",
    }


def test_a_file_that_is_just_full_is_not_rotated_before_the_next_byte(make, tmp_path):
    log = make(max_size=8, keep=2)
    log.write(b"1234567\n")
    assert list(files(tmp_path)) == ["out.log"]
    log.write(b"x")
    assert files(tmp_path) == {"out.log": b"x", "out.log.1": b"1234567\n"}


def test_keep_nothing(make, tmp_path):
    log = make(max_size=8, keep=0)
    log.write(b"line 1\nline 2\n")
    assert files(tmp_path) == {"out.log": b"line 2\n"}


def test_no_limit_is_never_rotated(make, tmp_path):
    log = make(max_size=UNLIMITED)
    log.write(b"x\n" * 100_000)
    assert {name: len(data) for name, data in files(tmp_path).items()} == {"out.log": 200_000}


def test_a_gap_in_the_rotated_files_does_no_harm(make, tmp_path):
    log = make(max_size=4, keep=3)
    log.write(b"a\nb\nc\nd\ne\n")
    (tmp_path / "out.log.1").unlink()
    log.write(b"f\ng\n")
    assert files(tmp_path)["out.log"] == b"g\n"
    assert files(tmp_path)["out.log.1"] == b"e\nf\n"


def test_a_file_that_is_too_big_already_is_rotated_first(make, tmp_path):
    (tmp_path / "out.log").write_bytes(b"0123456789\n")
    make(max_size=8).write(b"new\n")
    assert files(tmp_path) == {"out.log": b"new\n", "out.log.1": b"0123456789\n"}


def test_a_line_that_comes_in_pieces_is_kept_whole(make, tmp_path):
    log = make(max_size=8, keep=1)
    for piece in (b"abc", b"def", b"ghi", b"\nnext\n"):
        log.write(piece)
    # Longer than a file: cut where the file is full.
    assert files(tmp_path) == {"out.log": b"i\nnext\n", "out.log.1": b"abcdefgh"}
    log = make("two.log", max_size=8, keep=1)
    for piece in (b"1234\n", b"ab", b"cd", b"\nnext\n"):
        log.write(piece)
    # The file ends with the rest of the line.
    assert (tmp_path / "two.log.1").read_bytes() == b"1234\nabcd\n"
    assert (tmp_path / "two.log").read_bytes() == b"next\n"


def test_a_line_without_end_stops_at_the_size(make, tmp_path):
    log = make(max_size=100_000, keep=20)
    for _ in range(1000):
        log.write(b"x" * 1000)
    assert max(map(len, files(tmp_path).values())) <= 100_000 + 65536
    assert sum(map(len, files(tmp_path).values())) == 1_000_000


LINES = st.lists(st.integers(0, 29).map(lambda n: b"abcdefghijklmnopqrstuvwxyz0123"[:n] + b"\n"))


@given(lines=LINES, cuts=st.lists(st.integers(0, 400)), max_size=st.integers(30, 100))
def test_whole_lines_and_all_of_them(tmp_path_factory, lines, cuts, max_size):
    folder = tmp_path_factory.mktemp("logs")
    data = b"".join(lines)
    log = LogFile(LogConfig(path=str(folder / "l"), max_size=max_size, keep=999), Clock())
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    for start, end in pairwise(places):
        log.write(data[start:end])
    log.close()
    names = [f"l.{n}" for n in range(len(list(folder.iterdir())) - 1, 0, -1)] + ["l"]
    found = [(folder / name).read_bytes() for name in names if (folder / name).exists()]
    assert b"".join(found) == data
    assert all(part.endswith(b"\n") for part in found if part)
    assert all(part for part in found[:-1])
    assert all(len(part) <= max_size + 30 for part in found)


@given(st.lists(st.binary(max_size=300), max_size=15), st.integers(20, 100))
def test_whatever_is_written_comes_out_again(tmp_path_factory, chunks, max_size):
    folder = tmp_path_factory.mktemp("logs")
    log = LogFile(LogConfig(path=str(folder / "l"), max_size=max_size, keep=600), Clock())
    for chunk in chunks:
        log.write(chunk)
    log.close()
    names = sorted(folder.iterdir(), key=lambda p: -int(p.suffix[1:] or 0))
    assert b"".join(path.read_bytes() for path in names) == b"".join(chunks)
    assert all(path.stat().st_size <= 2 * max_size for path in names)


def test_what_is_no_regular_file_is_never_rotated(make, tmp_path):
    fifo = tmp_path / "out.log"
    os.mkfifo(fifo)
    log = make(max_size=4)
    log.write(b"nobody reads\n")  # and nobody waits
    assert log.error == f"{fifo}: {os.strerror(errno.ENXIO).lower()}"
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        log._clock.now += 1
        log.write(b"one\ntwo\nthree\n")
        assert os.read(reader, 100) == b"one\ntwo\nthree\n"
        assert [path.name for path in tmp_path.iterdir()] == ["out.log"]
        log.write(b"x" * 1_000_000)  # more than the FIFO holds
        assert 0 < log.dropped < 1_000_013
        assert log.error
    finally:
        os.close(reader)


# ---- a file that is moved ------------------------------------------------------------------


def test_a_file_that_was_moved_away_is_opened_anew(make, tmp_path, clock):
    log = make()
    log.write(b"one\n")
    (tmp_path / "out.log").rename(tmp_path / "moved")
    log.write(b"two\n")  # it does not look at each write
    clock.now += 1
    log.write(b"three\n")
    assert files(tmp_path) == {"moved": b"one\ntwo\n", "out.log": b"three\n"}


def test_a_file_that_took_its_place_is_not_rotated_away(make, tmp_path):
    log = make(max_size=9)
    log.write(b"ours\n")
    (tmp_path / "out.log").rename(tmp_path / "moved")
    (tmp_path / "out.log").write_bytes(b"new\n")
    log.write(b"many\n")
    assert files(tmp_path) == {"moved": b"ours\n", "out.log": b"new\nmany\n"}


def test_a_file_that_was_emptied_has_room_again(make, tmp_path, clock):
    log = make(max_size=8)
    log.write(b"1234567\n")
    os.truncate(tmp_path / "out.log", 0)
    clock.now += 1
    log.write(b"7654321\n")
    assert files(tmp_path) == {"out.log": b"7654321\n"}


# ---- what cannot be written ----------------------------------------------------------------


@contextlib.contextmanager
def files_of_at_most(size):
    """The kernel refuses more, as a full disk does.  For the whole process, so not as a fixture:
    pytest writes its own output before those end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_does_not_fit_is_dropped_and_counted(make, tmp_path, clock):
    log = make()
    with files_of_at_most(10):
        log.write(b"one\n")
        log.write(b"two and more\n")
    assert log.dropped == len(b" more\n") + 1
    assert log.error == f"{tmp_path}/out.log: {os.strerror(errno.EFBIG).lower()}"
    log.write(b"too early\n")
    assert log.dropped == 7 + 10
    clock.now += 1
    log.write(b"again\n")
    assert log.error is None
    assert log.dropped == 17
    assert files(tmp_path) == {"out.log": b"one\ntwo an\nagain\n"}


def test_the_line_end_that_it_adds_is_not_counted_as_lost(make, clock):
    log = make()
    with files_of_at_most(10):
        log.write(b"0123456789")
        log.write(b"abc")
        clock.now += 1
        log.write(b"def")
    assert log.dropped == 6


def test_a_device_that_is_full():
    log = LogFile(LogConfig(path="/dev/full"), Clock())
    log.write(b"abc")
    assert (log.dropped, log.error) == (3, "/dev/full: no space left on device")
    log.close()


def test_it_tries_again_once_a_second_at_most(make, tmp_path, clock, monkeypatch):
    tried = []
    real = os.open

    def count(*args, **kwargs):
        tried.append(clock.now)
        return real(*args, **kwargs)

    monkeypatch.setattr(os, "open", count)
    log = make("gone/out.log")
    for _ in range(30):  # three seconds
        log.write(b"x")
        clock.now += 0.1
    assert len(tried) == 3
    assert log.dropped == 30
    assert log.error == f"{tmp_path}/gone/out.log: no such file or directory"
    (tmp_path / "gone").mkdir()
    clock.now += 1
    log.write(b"back\n")
    assert (tmp_path / "gone" / "out.log").read_bytes() == b"back\n"
    assert log.error is None


def test_a_directory_that_vanishes(make, tmp_path, clock):
    (tmp_path / "a").mkdir()
    log = make("a/out.log", max_size=8)
    log.write(b"one\n")
    (tmp_path / "a" / "out.log").unlink()
    (tmp_path / "a").rmdir()
    log.write(b"two\nthree\n")  # it notices at the rotation
    assert log.error and log.dropped == len(b"three\n")
    clock.now += 1
    log.write(b"four\n")
    assert log.error and log.dropped == len(b"three\nfour\n")
    (tmp_path / "a").mkdir()
    clock.now += 1
    log.write(b"five\n")
    assert (tmp_path / "a" / "out.log").read_bytes() == b"five\n"


def test_a_file_that_cannot_be_rotated_does_not_grow(make, tmp_path, clock):
    (tmp_path / "out.log.1").mkdir()
    log = make(max_size=8, keep=1)
    for _ in range(10):
        log.write(b"1234567\n")
        clock.now += 1
    assert (tmp_path / "out.log").read_bytes() == b"1234567\n"
    assert log.dropped == 72
    assert log.error == f"{tmp_path}/out.log: is a directory"
    (tmp_path / "out.log.1").rmdir()
    log.write(b"again\n")
    assert (tmp_path / "out.log").read_bytes() == b"again\n"


# ---- the pipe ------------------------------------------------------------------------------


@pytest.fixture
def pipe(make):
    pipe = LogPipe(make())
    yield pipe
    pipe.close()


def test_what_the_program_writes_is_in_the_log(pipe, tmp_path):
    os.write(pipe.child_fd, b"hello\n")
    assert pipe.turn()
    assert files(tmp_path) == {"out.log": b"hello\n"}
    assert pipe.turn()  # nothing there: it does not wait
    pipe.close_child()
    assert not pipe.turn()


def test_a_turn_takes_64_kib_at_most(pipe, tmp_path):
    import fcntl

    fcntl.fcntl(pipe.child_fd, fcntl.F_SETPIPE_SZ, 1 << 18)
    os.write(pipe.child_fd, b"x" * 100_000)
    assert pipe.turn()
    assert (tmp_path / "out.log").stat().st_size == 65536


def test_neither_end_is_inherited_and_only_ours_does_not_wait(pipe):
    assert not os.get_inheritable(pipe.fileno())
    assert not os.get_inheritable(pipe.child_fd)
    assert not os.get_blocking(pipe.fileno())
    assert os.get_blocking(pipe.child_fd)


def test_close_takes_what_is_left(make, tmp_path):
    before = descriptors()
    log = make()
    pipe = LogPipe(log)
    os.write(pipe.child_fd, b"last words\n")
    pipe.close()
    pipe.close()
    assert files(tmp_path) == {"out.log": b"last words\n"}
    assert (pipe.fileno(), pipe.child_fd) == (-1, -1)
    log.close()
    assert descriptors() == before


def test_close_does_not_wait_for_who_writes_for_ever(make, monkeypatch):
    log = make(max_size=UNLIMITED)
    pipe = LogPipe(log)
    other = os.dup(pipe.child_fd)
    os.set_blocking(other, False)
    real = log.write

    def write(data):
        real(data)
        os.write(other, b"more\n")

    monkeypatch.setattr(log, "write", write)
    os.write(other, b"first\n")
    pipe.close()
    os.close(other)
    assert pipe.fileno() == -1
