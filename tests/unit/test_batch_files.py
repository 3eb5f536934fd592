"""The file of results, and what jobs have written."""

import json
import os
import tempfile

import pytest
from support import until

from climits.batch import output
from climits.batch.output import Output, Showing, open_spool, spool_directory
from climits.batch.results import Results
from climits.errors import ClimitsError, InvalidValueError
from climits.supervise.loop import Loop
from climits.units import UNLIMITED

# ---- results -------------------------------------------------------------------------------


@pytest.fixture
def results(tmp_path):
    """results(resume=...) opens the file; all are closed at the end."""
    opened = []

    def results(**options):
        opened.append(Results(str(tmp_path / "r"), **options))
        return opened[-1]

    yield results
    for file in opened:
        try:
            file.close()
        except OSError:
            pass  # by the test itself


def line(fingerprint, ok=True):
    return {"fingerprint": fingerprint, "ok": ok}


def test_a_line_is_there_at_once(results, tmp_path):
    file = results()
    file.append({"name": "a\n\udcff", "ok": True})
    assert (tmp_path / "r").read_text().count("\n") == 1
    assert json.loads((tmp_path / "r").read_text()) == {"name": "a\n\udcff", "ok": True}


def test_what_had_succeeded_is_found_again(results):
    file = results()
    for told in (line("a"), line("b", ok=False), line("b"), line("c", ok=False), line("a")):
        file.append(told)
    file.close()
    file = results(resume=True)
    assert file.succeeded == {"a": 2, "b": 1} and file.torn == 0
    file.append(line("d"))
    file.close()
    assert results(resume=True).succeeded == {"a": 2, "b": 1, "d": 1}


@pytest.mark.parametrize("torn", ['{"finge', '{"fingerprint": "x", "ok": true', "{}", "3", "\0\0"])
def test_a_torn_line_hurts_neither_those_before_nor_those_after(results, tmp_path, torn):
    file = results()
    file.append(line("a"))
    file.close()
    with open(tmp_path / "r", "a") as raw:
        raw.write(torn)
    file = results(resume=True)
    assert (file.succeeded, file.torn) == ({"a": 1}, 1)
    file.append(line("b"))
    file.close()
    file = results(resume=True)
    assert (file.succeeded, file.torn) == ({"a": 1, "b": 1}, 1)


def test_without_resume_the_old_file_is_kept_beside(results, tmp_path):
    file = results()
    file.append(line("a"))
    file.close()
    file = results()
    assert file.succeeded == {}
    file.append(line("b"))
    assert json.loads((tmp_path / "r.old").read_text())["fingerprint"] == "a"
    assert json.loads((tmp_path / "r").read_text())["fingerprint"] == "b"


def test_resume_of_nothing_begins(results):
    assert results(resume=True).succeeded == {}


def test_what_is_no_file_of_results_is_not_touched(results, tmp_path):
    (tmp_path / "r").write_text("[job.a]\ncommand = 'x'\n")
    with pytest.raises(InvalidValueError, match="not a file of results"):
        results(resume=True)
    assert (tmp_path / "r").read_text() == "[job.a]\ncommand = 'x'\n"


def test_two_batches_do_not_share_a_file(results):
    results()
    with pytest.raises(InvalidValueError, match="another batch is writing there"):
        results()


@pytest.mark.parametrize("path", ["", "/nowhere/r", "/"])
def test_a_file_that_cannot_be_written(path):
    with pytest.raises(InvalidValueError) as caught:
        Results(path)
    assert str(caught.value).startswith(f"results: {path}: ")
    assert caught.value.hint == "name another file with --results FILE"


def test_resume_needs_a_file():
    with pytest.raises(InvalidValueError, match="resume needs a file of results"):
        Results("-", resume=True)


def test_a_full_disk_is_told_and_the_line_is_written_later(monkeypatch, results, tmp_path):
    file = results()
    with monkeypatch.context() as m:
        m.setattr(file, "_fd", os.open("/dev/full", os.O_WRONLY))
        with pytest.raises(ClimitsError, match=r"cannot write the results: .*: no space left"):
            file.append(line("a"))
        os.close(file._fd)
    file.append(line("b"))
    lines = (tmp_path / "r").read_text().splitlines()
    assert [json.loads(text)["fingerprint"] for text in lines] == ["a", "b"]


# ---- where output is kept ------------------------------------------------------------------


def test_spools_have_no_name(tmp_path):
    fd = open_spool(str(tmp_path))
    os.write(fd, b"a")
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, b"b")
    assert os.pread(fd, 9, 0) == b"ab"  # it appends
    assert os.listdir(tmp_path) == [] and not os.get_inheritable(fd)
    os.close(fd)


def test_where_files_must_have_a_name_they_lose_it(tmp_path, monkeypatch):
    real = os.open

    def refuse(path, flags, *rest, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(95, "not supported")
        return real(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    fd = open_spool(str(tmp_path))
    os.write(fd, b"a")
    assert os.listdir(tmp_path) == []
    os.close(fd)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_spool(str(tmp_path / "no"))


def test_spools_lie_on_a_disk_unless_somebody_says_otherwise(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setenv("TMPDIR", "/dev")
    assert spool_directory() == "/dev"
    monkeypatch.delenv("TMPDIR")
    monkeypatch.setattr(os, "access", lambda path, _mode: path == "/var/tmp")
    assert spool_directory() == "/var/tmp"


# ---- showing -------------------------------------------------------------------------------


class Screen:
    """A Showing whose targets are files or pipes, and what it tells."""

    def __init__(self, folder, targets=None, **options):
        self.loop = Loop(lambda e: pytest.fail(str(e)))
        self.folder, self.told, self.broken = folder, [], []
        self.files = targets or [os.open(folder / n, os.O_RDWR | os.O_CREAT) for n in ("o", "e")]
        options = {"keep_order": False, "most": UNLIMITED} | options
        self.showing = Showing(
            self.loop, tuple(self.files), on_begin=lambda: self.told.append("begin"),
            on_broken=self.broken.append, **options,
        )  # fmt: skip

    def show(self, index, out=b"", err=b""):
        fds = []
        for data in (out, err):
            fd = open_spool(str(self.folder))
            os.write(fd, data)
            fds.append(fd)
        written = Output(*fds, shows_out=True, shows_err=True)
        self.showing.show(index, written, lambda: self.told.append(index))
        return written

    def finish(self):
        while self.showing.waiting:
            self.loop.turn()
        return [os.pread(fd, 1 << 22, 0) for fd in self.files]


@pytest.fixture
def screen(tmp_path):
    made = []

    def screen(**options):
        made.append(Screen(tmp_path, **options))
        return made[-1]

    yield screen
    for one in made:
        one.showing.close()
        one.loop.close()
        for fd in one.files:
            os.close(fd)


def test_outputs_are_shown_whole_one_after_the_other(screen):
    s = screen()
    s.show(2, b"two\n", b"2!\n")
    s.show(0, b"zero\n")
    s.show(1)
    s.show(3, b"", b"3!\n")
    assert s.finish() == [b"two\nzero\n", b"2!\n3!\n"]
    assert s.told == ["begin", 2, "begin", 0, 1, "begin", 3]


def test_the_order_is_kept_where_that_is_wanted(screen):
    s = screen(keep_order=True)
    for index in (2, 0, 3):
        s.show(index, b"%d" % index)
    while s.showing.waiting > 2:
        s.loop.turn()
    assert s.told == ["begin", 0]
    s.showing.show(1, None, lambda: s.told.append(1))
    assert s.finish()[0] == b"023"
    assert [t for t in s.told if t != "begin"] == [0, 1, 2, 3]


def test_what_is_held_back_is_shown_when_the_rest_will_not_come(screen):
    s = screen(keep_order=True)
    s.show(3, b"3")
    s.show(1, b"1")
    s.showing.flush_held()
    assert s.finish()[0] == b"13"


def test_big_outputs_are_copied_in_pieces(screen, monkeypatch):
    monkeypatch.setattr(output, "_CHUNK", 1000)
    data = os.urandom(12_345)
    s = screen()
    s.show(0, data, data[::-1])
    assert s.told == ["begin"]  # the rest is left to the loop
    assert s.finish() == [data, data[::-1]]


def test_only_so_much_is_shown(screen):
    s = screen(most=5)
    s.show(0, b"0123456789", b"abc")
    assert s.finish() == [b"01234", b"abc"]


def test_descriptors_are_given_back(screen):
    s = screen()
    shown, empty = s.show(0, b"x"), s.show(1)
    held = s.show(2, b"y")
    assert (empty.out, held.out) == (-1, held.out) and held.out >= 0
    s.finish()
    assert (shown.out, shown.err, held.out) == (-1, -1, -1)
    last = s.show(3, b"z" * 10)
    s.showing.close()
    assert last.out == -1 and s.showing.waiting == 0


@pytest.mark.parametrize("splice", [True, False])
def test_a_reader_that_takes_its_time_holds_nothing_up(screen, splice):
    read, write = os.pipe()
    s = screen(targets=[write, os.dup(write)])
    if not splice:  # as to a terminal or a socket
        s.showing._pipes.clear()
    data = os.urandom(300_000)
    s.show(0, data)
    s.loop.after(0, lambda: s.told.append("timer"))
    while "timer" not in s.told:
        s.loop.turn()  # the pipe may be full, the loop goes on
    got = bytearray()
    os.set_blocking(read, False)
    while s.showing.waiting or len(got) < len(data):
        try:
            got += os.read(read, 65536)
        except BlockingIOError:
            s.loop.turn()
    assert got == data
    os.close(read)


def test_a_reader_that_has_gone_is_told_once_and_the_rest_is_dropped(screen):
    read, write = os.pipe()
    s = screen(targets=[write, os.dup(write)])
    os.close(read)
    first, second = s.show(0, b"x"), s.show(1, b"y")
    while s.showing.waiting:
        s.loop.turn()
    assert [type(e) for e in s.broken] == [BrokenPipeError]
    assert (first.out, second.out) == (-1, -1)
    assert [t for t in s.told if t != "begin"] == [0, 1]


def test_a_terminal_gets_the_end_of_a_line(screen):
    ours, theirs = os.openpty()
    s = screen(targets=[theirs, os.dup(theirs)])
    s.show(0, b"no end")
    s.show(1, b"end\n")
    while s.showing.waiting:
        s.loop.turn()
    got = bytearray()
    until(lambda: (got.extend(os.read(ours, 100)), got.count(b"\n") == 2)[1])
    assert got == b"no end\r\nend\r\n"
    os.close(ours)


def test_what_was_written_is_counted_once(tmp_path):
    fd = open_spool(str(tmp_path))
    both = Output(fd, fd, shows_out=True, shows_err=True)
    os.write(fd, b"12345")
    assert both.written() == 5 and both.parts() == [(fd, False)]
    both.close()
    both.close()
