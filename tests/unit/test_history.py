"""The history: the spool, the database, and what may go wrong with either."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.cli.history import hallmark, matches
from climits.errors import InvalidValueError
from climits.history import spool, store
from climits.history.entries import COLUMNS, Entry
from climits.history.store import DAMAGED, DATABASE, History, HistoryError
from climits.records import Result
from climits.units import UNLIMITED

MIB = 1 << 20


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The state directory, not made yet."""
    path = tmp_path / "state"
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(path))
    return path


def result(**values):
    given = {
        "command": ["sort", "a b"], "verdict": "exited", "returncode": 0, "exit_status": 0,
        "memory_max": 60 * MIB, "memory_peak": 20 * MIB, "oom_kill": 0, "started": time.time(),
        "duration": 1.5, "cpu_time": 1.25,
    }  # fmt: skip
    return Result(**given | values)


def entries(directory=None, **how):
    with History(directory and str(directory)) as history:
        history.fold()
        return history.query(**how)


def files(place):
    return sorted(path.name for path in place.iterdir())


# ---- where it is ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "uid", "owner", "expected"),
    [
        ({"CLIMITS_STATE_DIR": "/s"}, 0, 0, "/s"),
        ({"CLIMITS_STATE_DIR": "here", "HOME": "/h"}, 5, 5, "here"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, 5, 5, "/x/climits"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, 5, 5, "/h/.local/state/climits"),
        ({"CLIMITS_STATE_DIR": "", "HOME": "/h"}, 5, 5, "/h/.local/state/climits"),
        ({"HOME": "/root"}, 0, 0, "/root/.local/state/climits"),
        ({"HOME": "/home/alice"}, 0, 1000, "/var/lib/climits"),
        ({"HOME": "/home/alice", "XDG_STATE_HOME": "/home/alice/s"}, 0, 1000, "/var/lib/climits"),
        ({"HOME": "/nonexistent"}, 0, -1, "/var/lib/climits"),
        ({"XDG_STATE_HOME": "/x"}, 0, 0, "/x/climits"),
        ({}, 0, 0, "/var/lib/climits"),
        ({"HOME": "not/absolute"}, 0, 0, "/var/lib/climits"),
        ({"HOME": "/"}, 0, 0, "/var/lib/climits"),
    ],
)
def test_the_state_directory(environment, uid, owner, expected, monkeypatch):
    for name in ("CLIMITS_STATE_DIR", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(spool, "_owner", lambda path: owner)
    assert spool.state_directory() == expected


def test_an_ordinary_user_without_home_has_the_one_of_the_passwd_file(monkeypatch):
    import pwd

    for name in ("CLIMITS_STATE_DIR", "XDG_STATE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("nobody").pw_uid)
    home = pwd.getpwnam("nobody").pw_dir
    assert spool.state_directory() == f"{home}/.local/state/climits"


# ---- what is recorded ----------------------------------------------------------------------


def test_a_run_comes_back_as_it_was(place):
    assert spool.record(result(), "batch", name="job 1", cwd="/srv") is None
    [entry] = entries()
    assert entry == Entry(
        started=entry.started, source="batch", name="job 1", command=["sort", "a b"], cwd="/srv",
        verdict="exited", returncode=0, exit_status=0, memory_max=60 * MIB, memory_peak=20 * MIB,
        oom_kill=0, duration=1.5, cpu_time=1.25, user="root" if os.getuid() == 0 else entry.user,
    )  # fmt: skip
    assert abs(entry.started - time.time()) < 3600


def test_no_limit_and_what_is_not_known_come_back_as_such(place):
    assert spool.record(result(memory_max=UNLIMITED, memory_peak=None, returncode=None)) is None
    [entry] = entries()
    assert entry.memory_max == UNLIMITED and entry.memory_peak is None
    assert entry.returncode is None and entry.swap_peak is None
    assert (entry.source, entry.name, entry.cwd) == ("run", None, os.getcwd())
    assert entry.as_dict()["memory_max"] == "max" and "name" not in entry.as_dict()


def test_a_relative_directory_is_one_below_ours(place):
    spool.record(result(), cwd="sub")
    assert entries()[0].cwd == f"{os.getcwd()}/sub"


def test_a_directory_that_was_removed_is_not_known(place, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert spool.record(result()) is None
    assert entries()[0].cwd is None


@given(st.lists(st.text(st.characters(), max_size=50), max_size=5))
def test_a_line_of_the_spool_is_json_whatever_the_command(words):
    text = spool.line(result(command=["c", *words]), "run", name="".join(words))
    assert text.isascii() and "\n" not in text
    values = json.loads(text)
    assert len(values) == 1 + len(COLUMNS)
    assert values[1 + COLUMNS.index("command")] == ["c", *words]
    assert values[1 + COLUMNS.index("name")] == "".join(words)


def test_bytes_that_are_no_text(place):
    word = os.fsdecode(b"caf\xe9")
    spool.record(result(command=["cat", word]), name=word, cwd=f"/{word}")
    [entry] = entries()
    assert entry.command == ["cat", word]  # what is to be compared
    assert (entry.name, entry.cwd) == ("caf\\xe9", "/caf\\xe9")  # what is to be shown


def test_very_many_arguments_are_cut(place):
    spool.record(result(command=["touch", *(f"file{n}" for n in range(100_000))]))
    [entry] = entries()
    assert entry.command[:3] == ["touch", "file0", "file1"]
    assert len(" ".join(entry.command)) < 20_000 and entry.command[-1].endswith(" more)")


def test_the_newest_come_last_and_can_be_chosen(place):
    now = time.time()
    for n in range(10):
        spool.record(result(command=[f"c{n}"], started=now - 100 + n))
    assert [e.command[0] for e in entries()] == [f"c{n}" for n in range(10)]
    assert [e.command[0] for e in entries(limit=2)] == ["c8", "c9"]
    assert [e.command[0] for e in entries(since=now - 92.5)] == ["c8", "c9"]
    wanted = entries(wanted=lambda e: e.command[0] in ("c1", "c4", "c5"), limit=2)
    assert [e.command[0] for e in wanted] == ["c4", "c5"]


def test_what_sqlite_itself_chooses(place):
    spool.record(result(command=["make", "-j8"]))
    spool.record(result(command=["sh", 'say "make"'], oom_kill=1), "batch")
    spool.record(result(command=["./app"], verdict="oom-killed", oom_kill=None), "batch")
    assert [e.command[0] for e in entries(containing="make")] == ["make", "sh"]
    assert [e.command[0] for e in entries(containing='\\"make')] == ["sh"]
    assert [e.command[0] for e in entries(source="batch")] == ["sh", "./app"]
    assert [e.command[0] for e in entries(oom=True)] == ["sh", "./app"]
    assert entries(source="batch", containing="j8") == []


@given(st.lists(st.text(max_size=8), min_size=1, max_size=4), st.text(max_size=6), st.data())
def test_what_speeds_a_pattern_up_leaves_nothing_out(words, pattern, data):
    line = " ".join(words)
    at = data.draw(st.integers(0, len(line)))
    part = line[at : at + data.draw(st.integers(0, 9))]
    for tried in (pattern, part, f"*{part}*", line.replace("a", "?")):
        if matches(tried, words):
            assert hallmark(tried) in json.dumps(words)


def test_it_is_for_its_owner_alone(place):
    before = os.umask(0)
    try:
        spool.record(result())
        with History() as history:
            spool.record(result())
            history.add([Entry(started=1e9, source="run", command=["x"], verdict="exited",
                               exit_status=0)])  # fmt: skip
            names = files(place)
            modes = {stat.S_IMODE((place / name).stat().st_mode) for name in names}
    finally:
        os.umask(before)
    assert {"spool", DATABASE, f"{DATABASE}-wal"} <= set(names)
    assert modes == {0o600} and stat.S_IMODE(place.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["CLIMITS_HISTORY_SIZE", "CLIMITS_HISTORY_AGE"])
def test_0_records_nothing(place, name, monkeypatch):
    monkeypatch.setenv(name, "0")
    assert spool.record(result()) is None
    assert not place.exists()


# ---- the spool and the database ------------------------------------------------------------


def test_a_grown_spool_is_taken_over_by_the_run_that_finds_it(place, monkeypatch):
    monkeypatch.setattr(spool, "FOLD_AT", 2000)
    for _ in range(30):
        assert spool.record(result()) is None
    assert (place / DATABASE).exists()
    rest = place / "spool"
    assert not rest.exists() or rest.stat().st_size < 2500
    assert len(entries()) == 30


def test_what_somebody_died_over_is_taken_over_once(place):
    """Killed behind the commit, and before the spool was removed."""
    for n in range(3):
        spool.record(result(command=[str(n)]))
    taken = place / "spool.feed"
    taken.write_bytes((place / "spool").read_bytes())
    assert len(entries()) == 3
    assert files(place) == [DATABASE]


def test_killed_before_the_commit_nothing_is_lost(place, monkeypatch):
    for n in range(3):
        spool.record(result(command=[str(n)]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(History, "_prune", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        entries()
    assert len([n for n in files(place) if n.startswith("spool.")]) == 1
    spool.record(result(command=["3"]))
    assert [e.command for e in entries()] == [["0"], ["1"], ["2"], ["3"]]


def test_a_line_that_comes_too_late_is_written_again(place, monkeypatch):
    """The spool is renamed and read between the opening of a writer and its write."""
    spool.record(result(command=["before"]))
    write, done = os.write, []

    def slow(fd, data):
        if not done:
            done.append(fd)
            assert [e.command for e in entries()] == [["before"]]
        return write(fd, data)

    monkeypatch.setattr(os, "write", slow)
    assert spool.record(result(command=["late"], started=time.time() + 1)) is None
    assert done
    assert [e.command for e in entries()] == [["before"], ["late"]]


def test_a_line_that_comes_between_rename_and_read_counts_once(place, monkeypatch):
    write, fchmod = os.write, os.fchmod
    spool.record(result(command=["before"]))
    late = os.open(place / "spool", os.O_WRONLY | os.O_APPEND)

    def read_later(fd, mode):
        write(late, f"\n{spool.line(result(command=['late']), 'run')}\n".encode())
        os.close(late)
        fchmod(fd, mode)

    monkeypatch.setattr(os, "fchmod", read_later)
    assert sorted(e.command[0] for e in entries()) == ["before", "late"]


def test_a_line_that_a_full_disk_cut_off_spoils_no_other(place):
    spool.record(result(command=["1"]))
    with open(place / "spool", "ab") as file:
        file.write(b'\n[1,77,17e8,"run",nul')
    spool.record(result(command=["2"]))
    with open(place / "spool", "ab") as file:
        file.write(b"\0\0\0\n\xff\xfe\n[]\n{}\n5\n[1,2]\n[9" + b",9" * len(COLUMNS) + b"]\n")
    assert [e.command for e in entries()] == [["1"], ["2"]]


def test_a_disk_that_is_full_is_told_in_a_line(place, monkeypatch):
    spool.record(result())
    monkeypatch.setattr(os, "write", lambda fd, data: len(data) // 2)
    assert spool.record(result()) == (
        f"not in the history: {place}/spool: no space left on device; --no-history leaves it out"
    )


WRITER = """
import sys, time
from climits.history import spool
from climits.records import Result
spool.FOLD_AT = 3000
for n in range(int(sys.argv[1])):
    warning = spool.record(Result(command=[sys.argv[2], str(n)], verdict="exited", exit_status=0))
    assert warning is None, warning
"""


@pytest.mark.timeout(300)
def test_many_writers_lose_nothing_and_count_nothing_twice(place):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, "200", f"w{i}"]) for i in range(6)
    ]  # fmt: skip
    while any(writer.poll() is None for writer in writers):
        entries()  # beside them
    assert [writer.returncode for writer in writers] == [0] * 6
    found = sorted(tuple(e.command) for e in entries())
    assert found == sorted((f"w{i}", str(n)) for i in range(6) for n in range(200))


@pytest.mark.timeout(300)
def test_kill_9_while_it_takes_over_loses_nothing(place):
    reader = "from climits.history.store import History; History().fold()"
    for n in range(12):
        for k in range(20):
            spool.record(result(command=[str(n), str(k)]))
        child = subprocess.Popen([sys.executable, "-c", reader])
        time.sleep(0.02 * n)
        child.kill()
        child.wait()
    assert sorted(tuple(e.command) for e in entries()) == sorted(
        (str(n), str(k)) for n in range(12) for k in range(20)
    )


# ---- retention -----------------------------------------------------------------------------


def test_what_is_too_old_goes(place, monkeypatch):
    monkeypatch.setenv("CLIMITS_HISTORY_AGE", "2d")
    now = time.time()
    for days in (3, 1):
        spool.record(result(command=[str(days)], started=now - days * 86400))
    assert [e.command for e in entries()] == [["1"]]


def test_the_oldest_go_when_it_is_too_large(place, monkeypatch):
    with History() as history:
        old = Entry(started=time.time() - 1000, source="run", command=["x" * 1000],
                    verdict="exited", exit_status=0)  # fmt: skip
        history.add(old.replace(started=old.started + n / 10) for n in range(1000))
        spool.record(result(command=["newest"]))
        monkeypatch.setenv("CLIMITS_HISTORY_SIZE", "200K")
        history.fold()
        left = history.query()
    assert 50 < len(left) < 200
    assert left[-1].command == ["newest"] and left[0].started > old.started + 80
    assert (place / DATABASE).stat().st_size <= 200 * 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [("CLIMITS_HISTORY_AGE", "soon"), ("CLIMITS_HISTORY_SIZE", "5MB")],
)
def test_a_retention_that_means_nothing_is_told_to_readers(place, name, value, monkeypatch):
    monkeypatch.setenv(name, value)
    assert spool.record(result()) is None  # what a run need not know
    with pytest.raises(InvalidValueError, match=f"{name}: {value}: "):
        entries()
    monkeypatch.delenv(name)
    assert len(entries()) == 1


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 90 * 86400), ("1.5d", 129600), ("12h", 43200), ("30", 30)]
)
def test_an_age(text, seconds):
    assert store.parse_age(text, what="age") == seconds


@pytest.mark.parametrize("text", ["d", "", "xd", "-1d", "1w"])
def test_what_is_no_age(text):
    with pytest.raises(InvalidValueError):
        store.parse_age(text, what="age")


def test_clear_leaves_nothing_on_the_disk(place):
    for _ in range(50):
        spool.record(result(command=["curl", "--password", "geheimnis"]))
    entries()
    spool.record(result(command=["curl", "--password", "geheimnis"]))
    (place / DAMAGED).write_text("geheimnis")
    with History() as history:
        assert history.clear() == 51
        assert history.query() == []
        for path in place.iterdir():
            assert b"geheimnis" not in path.read_bytes()
    assert files(place) == [DATABASE]


# ---- what may be wrong ---------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/proc/self"), reason="needs /proc")
def test_a_place_that_cannot_be_written_is_told_in_a_line(monkeypatch):
    monkeypatch.setenv("CLIMITS_STATE_DIR", "/proc/climits")
    warning = spool.record(result())
    assert warning == (
        "not in the history: /proc/climits: no such file or directory; --no-history leaves it out"
    )
    with pytest.raises(HistoryError, match="history: /proc/climits: no such file or directory"):
        History()


def test_a_file_where_the_directory_should_be(place):
    place.write_text("")
    assert spool.record(result()) == (
        f"not in the history: {place}/spool: not a directory; --no-history leaves it out"
    )
    with pytest.raises(HistoryError, match="not a directory"):
        History()


@pytest.mark.parametrize("kind", ["fifo", "link", "directory"])
def test_a_spool_that_is_no_file_hangs_nobody(place, tmp_path, kind):
    place.mkdir()
    if kind == "fifo":
        os.mkfifo(place / "spool")
    elif kind == "link":
        (place / "spool").symlink_to(tmp_path / "elsewhere")
    else:
        (place / "spool").mkdir()
    warning = spool.record(result())
    assert warning is not None and warning.startswith(f"not in the history: {place}/spool: ")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("damage", [b"this is no database" * 100, None])
def test_a_damaged_database_is_set_aside(place, damage):
    with History() as history:
        history.add([Entry(started=time.time(), source="run", command=["x" * 2000],
                           verdict="exited", exit_status=0)] * 50)  # fmt: skip
    path = place / DATABASE
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)  # the header may be whole
    path.write_bytes(damage if damage is not None else bytes(content))
    spool.record(result(command=["new"]))
    with History() as history:
        history.fold()
        assert [e.command for e in history.query()] == [["new"]]
        assert history.warning == (
            f"the history was damaged, and begins anew; the old one is {place}/{DAMAGED}"
        )
    assert entries()[0].command == ["new"]
    assert files(place) == [DATABASE, DAMAGED]


def test_a_run_that_finds_it_damaged_says_so_once(place, monkeypatch):
    monkeypatch.setattr(spool, "FOLD_AT", 100)
    place.mkdir()
    (place / DATABASE).write_bytes(b"nonsense" * 1000)
    warning = spool.record(result())
    assert warning is not None and "begins anew" in warning
    assert spool.record(result()) is None
    assert len(entries()) == 2


def test_a_database_of_another_version_is_left_alone(place):
    spool.record(result())
    entries()
    with sqlite3.connect(place / DATABASE) as db:
        db.execute("PRAGMA user_version=7")
    db.close()
    with pytest.raises(HistoryError, match="written by another version of climits"):
        History()
    assert files(place) == [DATABASE]


def test_a_run_does_not_wait_for_a_reader_that_holds_the_lock(place, monkeypatch):
    spool.record(result())
    entries()
    monkeypatch.setattr(spool, "FOLD_AT", 100)
    monkeypatch.setattr(store, "_BUSY", 0.01)
    holder = sqlite3.connect(place / DATABASE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert spool.record(result()) is None
    holder.execute("ROLLBACK")
    holder.close()
    assert len(entries()) == 2


def test_what_cannot_be_taken_over_does_not_fill_the_disk(place, monkeypatch):
    monkeypatch.setattr(spool, "FOLD_AT", 1000)
    monkeypatch.setenv("CLIMITS_HISTORY_SIZE", "5K")
    (place / DATABASE).mkdir(parents=True)
    warnings = [spool.record(result()) for _ in range(200)]
    told = [w for w in warnings if w]
    assert told and all(w.startswith(f"history: {place}/{DATABASE}: ") for w in told)
    assert len(told) < 50  # at each mark, and not by each run
    assert (place / "spool").stat().st_size < 8 * 1024


def test_a_fault_of_ours_is_no_reason_for_a_run_to_fail(place, monkeypatch):
    monkeypatch.setattr(spool, "line", lambda *_: 1 / 0)
    assert spool.record(result()) == "not in the history: ZeroDivisionError: division by zero"


def test_a_run_loads_no_database(place):
    code = (
        "import sys; from climits.history import spool; from climits.records import Result;"
        "spool.record(Result(command=['x'], verdict='exited', exit_status=0));"
        "assert not {'sqlite3', 'json', 'climits.history.store'} & set(sys.modules)"
    )
    place.mkdir()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert files(place) == ["spool"]
