"""Recordings: what is written, and that every part of one can be read."""

import errno
import io
import json
import math
import os
import threading
import time

import pytest

from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError
from climits.observe.recordings import file as recording_file
from climits.observe.recordings import looker as looker_module
from climits.observe.recordings import plot as plot_module
from climits.observe.recordings import recorder
from climits.observe.recordings.follower import FASTEST, SLOWEST, Follower
from climits.observe.recordings.plot import Look, plot
from climits.observe.recordings.reader import read_recording
from climits.observe.recordings.result import result_of
from climits.observe.recordings.words import fullest, headline, rows, why
from climits.units import UNLIMITED

M = 1 << 20
HEADER = {"climits": "recording", "schema": 1, "time": 1.7e9, "command": ["/bin/app", "-x"]}
STARTED = {"t": 0.0, "e": "started", "cgroup": "/climits/app", "name": "app", "pid": 7}
RESULT = {
    "command": ["/bin/app"], "verdict": "oom-killed", "returncode": -9, "signal": 9,
    "exit_status": 137, "pid": 7, "cgroup": "/climits/app", "memory_max": 60 * M,
    "memory_peak": 60 * M, "swap_max": 0, "oom_kill": 1, "duration": 2.0,
    "evidence": {
        "usage": {"peak": 60 * M}, "events": {"max": 3, "oom_kill": 1},
        "killed": [{"pid": 7, "name": "app", "usage": 60 * M, "limit": 60 * M,
                    "limited_by": "/climits/app"}],
    },
}  # fmt: skip
END = {"t": 2.0, "e": "end"}


def sample(t, current, **rest):
    return {"t": t, "c": current, **rest}


WHOLE = [
    HEADER, STARTED, sample(0.0, 10 * M, a=9 * M, f=M, m=60 * M, o=0, l=0, p=10 * M),
    {"t": 0.5}, sample(1.0, 40 * M, a=39 * M), sample(1.9, 60 * M, a=59 * M, p=60 * M, l=3),
    {"t": 2.0, "e": "oom-kill", "count": 1}, sample(2.0, M, a=0, o=1),
    {"t": 2.0, "e": "oom-killed", "result": RESULT}, END,
]  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(lines, *, cut=None):
        path = tmp_path / "app.jsonl"
        data = b"".join(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            for line in lines
        )  # fmt: skip
        path.write_bytes(data[:cut])
        return str(path)

    return write


# ---- reading -----------------------------------------------------------------------------------


def test_a_whole_recording(written):
    recording = read_recording(written(WHOLE))
    assert (recording.finished, recording.note(), recording.lines) == (True, None, len(WHOLE))
    (trace,) = recording.traces
    assert (trace.name, trace.path) == ("app", "/climits/app")
    assert list(trace.times) == [0.0, 0.5, 1.0, 1.9, 2.0, 2.0]
    # What is not told is as it was, until nothing runs.
    assert list(trace.columns["current"])[:5] == [10 * M, 10 * M, 40 * M, 60 * M, M]
    assert math.isnan(trace.columns["current"][5])
    assert list(trace.columns["file"])[:5] == [M] * 5
    assert trace.result.verdict == "oom-killed" and trace.result.evidence.killed[0].pid == 7
    assert trace.count("oom-kill") == 1


@pytest.mark.parametrize("lines", range(1, len(WHOLE)))
def test_every_beginning_of_one_can_be_read(written, lines):
    recording = read_recording(written(WHOLE[:lines]))
    assert recording.lines == lines and not recording.finished
    assert "it has no end" in recording.note() and f"up to line {lines}," in recording.note()


def test_one_that_is_cut_at_any_byte(written):
    data = b"".join(json.dumps(line).encode() + b"\n" for line in WHOLE)
    first = data.index(b"\n") + 1
    for cut in range(first, len(data)):
        recording = read_recording(written([data], cut=cut))
        assert recording.lines == data[:cut].count(b"\n")
        for trace in recording.traces:
            assert headline(trace) and rows(recording, trace) and isinstance(why(trace), list)
            assert isinstance(plot(trace, Look()), list)


def test_a_cut_line_is_told(written):
    recording = read_recording(written([*WHOLE[:4], b'{"t":1.0,"c":4']))
    assert "its last line is cut off: good up to line 4, 500ms" in recording.note()


@pytest.mark.parametrize(
    "line",
    [
        b"\0\0\0\n", b"[]\n", b"{}\n", b'{"t":-5}\n', b'{"t":NaN}\n', b'{"t":true}\n',
        b'{"t":1,"c":"x"}\n', b'{"t":1,"c":[1]}\n', b'{"t":1,"c":1e300}\n', b'{"t":1,"i":"x"}\n',
        b'{"t":1,"e":"exited","result":3}\n', b'{"t":1,"e":"gap"}\n', b'{"t":1,"c":NaN}\n',
        b"\xff\xfe\n", b"[" * 5000 + b"\n", b'{"t":1,"e":"oom-kill","count":"many"}\n',
    ],
)  # fmt: skip
def test_what_comes_before_a_damaged_line_counts(written, line):
    recording = read_recording(written([*WHOLE[:5], line, *WHOLE[5:]]))
    assert recording.lines >= 5 and list(recording.traces[0].times)[:3] == [0.0, 0.5, 1.0]
    for trace in recording.traces:
        assert headline(trace) and isinstance(why(trace), list) and rows(recording, trace)


def test_a_damaged_line_is_told(written):
    recording = read_recording(written([*WHOLE[:5], b"\0\0\n", *WHOLE[5:]]))
    assert "line 6 is damaged: good up to line 5, 1.0s" in recording.note()


@pytest.mark.parametrize(
    ("lines", "cause"),
    [
        ([], "it is empty"),
        ([b"hello\n"], "it does not begin as one"),
        ([b"\x89PNG\r\n\x1a\n" * 100], "it does not begin as one"),
        ([{"climits": "other", "schema": 1, "time": 1}], "it does not begin as one"),
        ([{"climits": "recording", "schema": 1}], "it does not begin as one"),
        ([b'{"climits":"recording","schema"'], "its first line is cut off"),
    ],
)
def test_what_is_no_recording(written, lines, cause):
    with pytest.raises(InvalidValueError, match=f"not a recording: {cause}"):
        read_recording(written(lines))


def test_one_of_a_later_version(written):
    with pytest.raises(InvalidValueError, match="a later climits"):
        read_recording(written([{**HEADER, "schema": 99}]))


def test_one_that_cannot_be_read(tmp_path):
    with pytest.raises(ClimitsError, match="no such file"):
        read_recording(str(tmp_path / "none"))
    with pytest.raises(ClimitsError, match="is a directory"):
        read_recording(str(tmp_path))


def test_names_that_are_not_known_are_left_out(written):
    lines = [{**HEADER, "new": 1}, STARTED, {"t": 1, "c": 5, "zz": 7}, {"t": 1, "e": "new", "x": 2},
             {"t": 1, "e": "exited", "result": {**RESULT, "new": [1], "memory_peak": "lots"}},
             END]  # fmt: skip
    recording = read_recording(written(lines))
    assert recording.note() is None
    assert recording.traces[0].result.memory_peak is None


def test_programs_of_a_supervisor_and_restarts(written):
    ended = {"e": "oom-killed", "duration": 1.0, "text": "oom-killed: ...", "signal": 9}
    lines = [HEADER, {**STARTED, "name": "web"}, {"t": 0, "e": "started", "i": 1, "name": "db"},
             sample(0.1, 5), {"t": 0.1, "i": 1, "c": 7}, {"t": 1, **ended},
             {"t": 1, "e": "signal", "i": -1, "signal": 15}, {**STARTED, "t": 2},
             sample(2.1, 6), END]  # fmt: skip
    recording = read_recording(written(lines))
    web, db = recording.traces
    assert (web.name, db.name) == ("app", "db") and [e.kind for e in recording.events] == ["signal"]
    assert web.count("restarted") == 1 and headline(web) == "oom-killed: ..."
    assert [math.isnan(v) for v in web.columns["current"]] == [False, True, False]


def test_a_gap_breaks_the_line(written):
    recording = read_recording(written([*WHOLE[:5], {"t": 1.8, "e": "gap", "since": 1.2},
                                        *WHOLE[5:]]))  # fmt: skip
    assert "nothing could be written from 1.2 s to 1.8 s" in recording.note()
    assert math.isnan(recording.traces[0].columns["current"][3])


@pytest.mark.parametrize("time", [1e17, -1, math.inf])
def test_a_time_that_no_clock_tells(written, time):
    with pytest.raises(InvalidValueError, match="it does not begin as one"):
        read_recording(written([{**HEADER, "time": time}, *WHOLE[1:]]))


@pytest.mark.parametrize(
    "changes",
    [
        {"text": {"a": 1}}, {"cgroup": 5}, {"name": {"a": [1]}}, {"t": 1e17}, {"error": [2]},
        {"command": []}, {"killed": [{"pid": "x", "limited_by": 3}]}, {"since": "max"},
        {"c": "max"}, {"l": "max"}, {"m": -1}, {"signal": 9999}, {"duration": 1e17},
        {"verdict": None},
    ],
)  # fmt: skip
@pytest.mark.parametrize("number", range(1, len(WHOLE)))
def test_odd_values_do_no_harm(written, changes, number):
    line = WHOLE[number] | changes
    if "result" in line:
        evidence = RESULT["evidence"] | changes
        line |= {"result": RESULT | changes | {"evidence": evidence}}
    recording = read_recording(written([*WHOLE[:number], line, *WHOLE[number + 1 :]]))
    for trace in recording.traces:
        assert isinstance(headline(trace), str) and isinstance(plot(trace, Look()), list)
        assert all(isinstance(text, str) for text in why(trace))
        assert all(isinstance(value, str) for _, value in rows(recording, trace))


def test_lost_events_break_no_line(written):
    lines = [*WHOLE[:5], {"t": 1.8, "e": "gap", "since": 1.2, "lost": "events"}, *WHOLE[5:]]
    recording = read_recording(written(lines))
    assert "events of the supervisor between 1.2 s and 1.8 s were lost" in recording.note()
    assert list(recording.traces[0].times) == [0.0, 0.5, 1.0, 1.9, 2.0, 2.0]


def test_counts_of_several_runs_are_added(written):
    lines = [HEADER, STARTED, sample(0.1, 5, u=1.0, l=2, ps=0.5), sample(1, 5, u=3.0, l=4),
             {**STARTED, "t": 2}, sample(2.1, 6, u=0.5, l=1, ps=0.25), sample(3, 6, u=2.5),
             END | {"t": 3}]  # fmt: skip
    recording = read_recording(written(lines))
    (trace,) = recording.traces
    assert (trace.total("cpu"), trace.total("limit_hits")) == (5.5, 5)
    assert trace.total("swap") is None
    table = dict(rows(recording, trace))
    assert table["CPU time"] == "5.5s" and table["limit hits"] == "5"
    assert table["waited for memory (some)"] == "750ms"
    assert "into its limit 5 times" in " ".join(why(trace))


# ---- writing -----------------------------------------------------------------------------------


class Sampled:
    """A sample with what is given, and nothing else reported."""

    def __init__(self, **figures):
        for name in recording_file.FIELDS.values():
            setattr(self, name, figures.get(name))


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def time(self):
            return 1.7e9 + self.now

    clock = Clock()
    monkeypatch.setattr(recording_file, "time", clock)
    return clock


@pytest.fixture
def file(tmp_path, clock):
    warnings = []
    file = recording_file.File(str(tmp_path / "w.jsonl"), {"command": ["x"]}, warnings.append)
    file.warnings = warnings
    yield file
    file.close()


def lines_of(file):
    with open(file.path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][1:]


def test_a_sample_tells_what_has_changed(file, clock):
    follower = Follower(file, 0, "/x")
    follower.take(Sampled(current=5 * M, anon=M, max=UNLIMITED, cpu=0.12345678))
    clock.now += 1
    follower.take(Sampled(current=6 * M, anon=M, max=UNLIMITED, cpu=0.12345999))
    assert lines_of(file) == [
        {"t": 0.0, "c": 5 * M, "a": M, "m": "max", "u": 0.1235}, {"t": 1.0, "c": 6 * M},
    ]  # fmt: skip


def test_the_interval_follows_the_change(file, clock):
    follower = Follower(file, 0, "/x")
    intervals = []
    for current in (10, 20, 20, 20, 20, 20, 20, 20, 20, 20.9, 22, 22):
        follower.take(Sampled(current=int(current * M), max=100 * M))
        intervals.append(round(follower.interval, 4))
    slower = [min(FASTEST * 1.5**n, SLOWEST) for n in range(1, 9)]
    assert intervals[:2] == [FASTEST, FASTEST]
    assert intervals[2:9] == [round(s, 4) for s in slower[:7]]
    assert intervals[9] > intervals[8] - 1e-9  # 0.9 % of the limit is not a move
    assert intervals[10:] == [FASTEST, round(FASTEST * 1.5, 4)]
    assert 1 / FASTEST == 20


@pytest.mark.parametrize("counter", ["limit_hits", "oom_kill", "max", "high"])
def test_a_counter_or_limit_that_moves_is_a_change(file, clock, counter):
    follower = Follower(file, 0, "/x")
    for _ in range(4):
        follower.take(Sampled(current=M, **{counter: 1}))
    assert follower.interval > FASTEST
    follower.take(Sampled(current=M, **{counter: 2}))
    assert follower.interval == FASTEST


def test_what_does_not_change_is_not_written_but_where_it_ends(file, clock):
    follower = Follower(file, 0, "/x")
    for current in (5, 5, 5, 9):
        follower.take(Sampled(current=current * M))
        clock.now += 1
    assert lines_of(file) == [{"t": 0, "c": 5 * M}, {"t": 2.0}, {"t": 3.0, "c": 9 * M}]


def test_a_sign_of_life(file, clock):
    follower = Follower(file, 0, "/x")
    for _ in range(26):
        follower.take(Sampled(current=5))
        clock.now += 1
    assert [line["t"] for line in lines_of(file)] == [0.0, 10.0, 20.0]


def test_oom_kills_are_counted_from_the_first_look(file, clock):
    follower = Follower(file, 3, "/x")
    for kills in (2, 2, 5):
        follower.take(Sampled(oom_kill=kills))
    kills = [line for line in lines_of(file) if line.get("e") == "oom-kill"]
    assert [(line["i"], line["count"]) for line in kills] == [(3, 3)]
    assert follower.kills == 3


def test_oom_kills_are_counted_from_the_start(file, clock):
    """One that came before the first sample is told too."""
    follower = Follower(file, 0, "/x", kills_before=2)
    for kills in (3, 3, 4):
        follower.take(Sampled(oom_kill=kills))
    assert [line["count"] for line in lines_of(file) if "count" in line] == [1, 1]
    assert follower.kills == 2


def test_an_oom_kill_that_no_sample_has_seen(file, clock):
    """And one that came before the first sample of a cgroup that is gone at the second."""
    result = result_of(RESULT)
    follower = Follower(file, 0, "/x")
    follower.take(Sampled(oom_kill=1))
    follower.take_result(result, 1.0)
    assert [line["count"] for line in lines_of(file) if "count" in line] == [1]


def test_an_oom_kill_in_a_gap(file, clock):
    follower = Follower(file, 0, "/x")
    follower.take(Sampled(oom_kill=0))
    file.gaps += 1
    follower.take(Sampled(oom_kill=1))
    assert follower.kills == 1


def test_an_earlier_recording_is_replaced_and_nothing_else(tmp_path):
    path = str(tmp_path / "r")
    for text in (None, "", "x"):
        if text == "x":
            (tmp_path / "r").write_text("my thesis\n")
            with pytest.raises(InvalidValueError, match="a file that is not a recording"):
                recording_file.File(path, {}, print)
            assert (tmp_path / "r").read_text() == "my thesis\n"
            return
        if text is not None:
            (tmp_path / "r").write_text(text)
        file = recording_file.File(path, {"command": ["first"]}, print)
        with pytest.raises(InvalidValueError, match="another climits records into it"):
            recording_file.File(path, {}, print)
        assert read_recording(path).written
        file.close()
        second = recording_file.File(path, {"command": ["second"]}, print)
        second.write('{"t":0}\n')
        assert read_recording(path).command == ["first"]  # nothing runs yet
        second.start()
        second.close()
        assert read_recording(path).command == ["second"]


def test_an_earlier_recording_stays_until_something_runs(tmp_path):
    path = str(tmp_path / "r")
    recording_file.File(path, {"command": ["first"]}, print).close()
    before = (tmp_path / "r").read_bytes()
    with recorder.Recorder(path, command=["/no/such"]) as second:
        second.close(result_of({"command": ["/no/such"], "verdict": "failed-to-start"}))
    assert (tmp_path / "r").read_bytes() == before
    third = recording_file.File(path, {"command": ["third"]}, print)
    third.write('{"t":0,"e":"early"}\n')
    third.start()
    third.write('{"t":0,"e":"end"}\n')
    third.close()
    recording = read_recording(path)
    assert (recording.command, recording.lines, recording.note()) == (["third"], 3, None)


def test_an_earlier_recording_that_cannot_be_replaced_at_once(tmp_path, monkeypatch):
    """The first line comes once it can be written, before that of the gap."""
    path = str(tmp_path / "r")
    recording_file.File(path, {"command": ["first"]}, print).close()
    warnings = []
    second = recording_file.File(path, {"command": ["second"]}, warnings.append)
    with monkeypatch.context() as patched:
        patched.setattr(recording_file.os, "write", full)
        second.start()
    second.write('{"t":0,"e":"end"}\n')
    second.close()
    recording = read_recording(path)
    assert recording.command == ["second"] and "could be written" in recording.note()
    assert len(warnings) == 1


def full(_fd, _data):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("before", [None, b""])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, before):
    if before is not None:
        (tmp_path / "r").write_bytes(before)
    with monkeypatch.context() as patched:
        patched.setattr(recording_file.os, "write", full)
        with pytest.raises(InvalidValueError, match="no space left"):
            recording_file.File(str(tmp_path / "r"), {}, print)
    assert (tmp_path / "r").exists() == (before is not None)


@pytest.mark.parametrize("name", ["", "-"])
def test_what_is_no_name_of_a_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match="not the name of a file") as caught:
        recording_file.File(name, {}, print)
    assert caught.value.hint and not os.listdir()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [(os.unlink, "deleted"), (lambda path: os.truncate(path, 0), "cut off"), (None, None)],
)
def test_a_recording_that_somebody_spoils(tmp_path, spoil, text):
    warnings = []
    file = recording_file.File(str(tmp_path / "r"), {}, warnings.append)
    if spoil:
        spoil(tmp_path / "r")
    file.write('{"t":0,"e":"end"}\n')
    file.close()
    assert len(warnings) == bool(text) and (not text or text in warnings[0])


def test_a_link_is_not_followed(tmp_path):
    for target in ("nowhere", "earlier"):
        link = tmp_path / f"to-{target}"
        link.symlink_to(tmp_path / target)
        if target == "earlier":
            recording_file.File(str(tmp_path / target), {}, print).close()
        with pytest.raises(InvalidValueError, match="a symbolic link, which is not followed"):
            recording_file.File(str(link), {}, print)
    assert not (tmp_path / "nowhere").exists()
    assert read_recording(str(tmp_path / "earlier")).lines == 1


def test_nobody_else_can_read_it(tmp_path):
    old = os.umask(0)
    try:
        recording_file.File(str(tmp_path / "r"), {}, print).close()
    finally:
        os.umask(old)
    assert (tmp_path / "r").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["{", '{"climits":"rec', '{"climits":"other"}\n'])
def test_what_begins_like_a_recording_is_none(tmp_path, text):
    (tmp_path / "r").write_text(text)
    with pytest.raises(InvalidValueError, match="not a recording"):
        recording_file.File(str(tmp_path / "r"), {}, print)
    assert (tmp_path / "r").read_text() == text


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_refused(tmp_path, make):
    make(tmp_path / "r")
    with pytest.raises(InvalidValueError, match="record: "):
        recording_file.File(str(tmp_path / "r"), {}, print)


def test_a_disk_that_is_full_for_a_while(file, clock, monkeypatch):
    """One warning; what was cut off is taken back, and the gap is told."""
    follower = Follower(file, 0, "/x")
    follower.take(Sampled(current=5, peak=9))
    write = os.write
    room = [10]

    def full(fd, data):
        if fd != file._fd:
            return write(fd, data)
        if not room[0]:
            raise OSError(28, "No space left on device")
        done = write(fd, data[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(recording_file.os, "write", full)
    for current in (6, 7, 8):
        clock.now += 1
        follower.take(Sampled(current=current, peak=9))
    assert len(file.warnings) == 1 and "no space left" in file.warnings[0]
    assert lines_of(file) == [{"t": 0.0, "c": 5, "p": 9}]
    monkeypatch.setattr(recording_file.os, "write", write)
    for current in (9, 10):
        clock.now += 1
        follower.take(Sampled(current=current, peak=9))
    assert lines_of(file)[1:] == [
        {"t": 4.0, "e": "gap", "since": 1.0}, {"t": 4.0, "c": 9}, {"t": 5.0, "c": 10, "p": 9},
    ]  # fmt: skip


def test_the_recorder_ends_twice_and_without_a_program(tmp_path):
    with recorder.Recorder(str(tmp_path / "r"), command=["x"]) as one:
        one.event("note", at=0.5)
    one.close()
    recording = read_recording(str(tmp_path / "r"))
    assert recording.finished and recording.note() is None


# ---- a supervisor's ----------------------------------------------------------------------------


class FakeSupervisor:
    """One that tells each who follows what a stage says, and then lets it go.

    A stage is (the events that are kept, those that come later, the facts of its programs).
    """

    def __init__(self, *stages):
        self.stages, self.now = list(stages), None

    def connect(self):
        if self.now is None and not self.stages:
            raise ClimitsError("the supervisor has ended")
        return FakeClient(self)


class FakeClient:
    def __init__(self, supervisor):
        self.supervisor = supervisor

    def events(self, *, follow=False):
        if not follow:
            yield from json.loads(json.dumps(self.supervisor.now[0][-100:]))
            return
        self.supervisor.now = kept, later, _ = self.supervisor.stages.pop(0)
        yield from json.loads(json.dumps(kept[-100:]))
        yield from json.loads(json.dumps(later))
        self.supervisor.now = None

    def status(self):
        return self.supervisor.now[2]

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def begin(at, name, pid):
    return {"time": at, "event": "started", "program": name, "pid": pid,
            "cgroup": f"/climits-none/{name}-{pid}", "memory_max": "max"}  # fmt: skip


def running(at, name, pid):
    return {"program": name, "status": "running", "pid": pid, "started": at,
            "cgroup": f"/climits-none/{name}-{pid}", "memory_max": math.inf}  # fmt: skip


@pytest.fixture
def record(tmp_path):
    """What is in the file after all stages, and what was warned of."""

    def record(*stages):
        warnings = []
        one = recorder.SupervisorRecorder(str(tmp_path / "s.jsonl"), warn=warnings.append)
        one.begin(FakeSupervisor(*stages).connect)
        one.end()
        return read_recording(str(tmp_path / "s.jsonl")), warnings

    return record


def test_programs_whose_start_is_no_longer_kept(record):
    t = time.time()
    every = [begin(t + n / 1000, f"p{n:03}", n) for n in range(250)]
    facts = [running(t + n / 1000, f"p{n:03}", n) for n in range(251)]
    # The event of the last came after it was asked for.
    recording, warnings = record((every, [begin(t + 0.25, "p250", 250)], facts))
    assert warnings == [] and recording.note() is None
    assert {trace.name for trace in recording.traces} == {f"p{n:03}" for n in range(251)}
    assert all([e.kind for e in trace.events] == ["started"] for trace in recording.traces)


def test_one_who_is_let_go_comes_again(record):
    t = time.time() - 60
    noise = [{"time": t + 1 + n / 1000, "event": "signal", "signal": 1} for n in range(200)]
    ended = {"program": "b", "status": "stopped", "verdict": "exited", "returncode": 3}
    recording, warnings = record(
        ([begin(t, "a", 1), begin(t, "b", 2)], [], [running(t, "a", 1), running(t, "b", 2)]),
        (noise, [begin(t + 2, "d", 7)], [running(t + 1, "a", 5), ended, running(t, "c", 6)]),
    )
    assert len(warnings) == 1 and "events of the supervisor were lost" in warnings[0]
    assert "were lost" in recording.note() and recording.finished
    traces = {trace.name: trace for trace in recording.traces}
    a, b = traces["a"], traces["b"]
    assert [e.kind for e in a.events] == ["started", "restarted"] and a.path.endswith("a-5")
    assert [e.kind for e in b.events] == ["started", "exited"] and b.result.returncode == 3
    assert all([e.kind for e in traces[name].events] == ["started"] for name in "cd")


def test_one_who_has_missed_nothing_says_nothing(record):
    t = time.time()
    first = [begin(t, "a", 1)]
    later = [*first, begin(t + 1, "b", 2)]
    facts = [running(t, "a", 1), running(t + 1, "b", 2)]
    recording, warnings = record((first, [], facts[:1]), (later, [], facts))
    assert warnings == [] and recording.note() is None
    assert [[e.kind for e in trace.events] for trace in recording.traces] == [["started"]] * 2


def test_the_end_does_not_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "PATIENCE", 0.1)
    hold, warnings = threading.Event(), []

    class Hanging(FakeClient):
        def events(self, *, follow=False):
            hold.wait(60)
            yield from ()

    def connect():
        if hold.is_set():
            raise ClimitsError("the supervisor has ended")
        return Hanging(None)

    one = recorder.SupervisorRecorder(str(tmp_path / "r"), warn=warnings.append)
    one.begin(connect)
    one.end()
    hold.set()
    assert len(warnings) == 1 and "were lost" in read_recording(str(tmp_path / "r")).note()


# ---- the thread that looks ---------------------------------------------------------------------


class FakeSampler:
    """Of cgroups that are there unless `gone` has their paths."""

    def __init__(self, **_):
        self.asked, self.gone = [], set()

    def add(self, path):
        pass

    discard = add

    def sample(self, paths=None):
        self.asked.append(paths)
        return {path: Sampled(current=5) for path in paths if path not in self.gone}

    def close(self):
        pass


@pytest.fixture
def looker(monkeypatch):
    monkeypatch.setattr(looker_module, "Sampler", FakeSampler)
    return looker_module.Looker()


def test_the_first_look_is_at_the_new_one_alone(looker, file, monkeypatch):
    monkeypatch.setattr(looker_module, "start_thread", lambda _: threading.Lock())
    paths = [f"/{n}" for n in range(20)]
    for path in paths:
        looker.add(Follower(file, 0, path))
    assert looker._sampler.asked == [[path] for path in paths]


def test_what_is_gone_is_not_looked_at(looker, file):
    looker._sampler.gone = {"/a"}
    looker.add(Follower(file, 0, "/a"))
    assert looker.look() == set() and looker._sampler.asked[-1] == []
    looker.add(Follower(file, 1, "/b"))
    assert looker.look() == {"/b"} == looker.last()
    assert sum("/a" in paths for paths in looker._sampler.asked) == 1
    looker.close()


def test_where_no_thread_can_be_started(looker, file, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(looker_module._thread, "start_new_thread", refuse)
    with pytest.raises(ClimitsError, match="no thread can be started"):
        looker.add(Follower(file, 0, "/a"))
    assert looker.last() == {"/a"}


# ---- in words ----------------------------------------------------------------------------------


def test_why_it_was_killed(written):
    (trace,) = read_recording(written(WHOLE)).traces
    text = " ".join(why(trace))
    assert "killed pid 7 (app)" in text and "its cgroup's limit of 60.0M" in text
    assert "It was allowed no swap." in text
    assert "59.0M of 60.0M (98%) was anonymous memory" in text
    assert "rose from 40.0M to 60.0M" in text and "into its limit 3 times" in text
    assert headline(trace).startswith("oom-killed: pid 7 (app) at 60.0M of 60.0M")
    assert fullest(trace) == 3


def changed(**changes):
    return [*WHOLE[:-2], {"t": 2.0, "e": "x", "result": RESULT | changes}, END]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"verdict": "signaled", "oom_kill": 0}, "somebody sent that signal"),
        ({"verdict": "timed-out", "oom_kill": 0}, "Its time was up"),
        ({"verdict": "stopped", "oom_kill": 0}, "asked to end it"),
        ({"verdict": "failed-to-start", "oom_kill": 0, "error": "no such"}, "did not start: no"),
        ({"verdict": "exited", "returncode": 0, "signal": None}, "lived on, and ended by exit"),
        ({"evidence": {"killed": [{"pid": 9, "name": "x"}]}}, "the whole machine ran out"),
        ({"evidence": {"killed": [{"pid": 9, "name": "x", "limited_by": "/up", "limit": M}]}},
         "the limit of /up, which it is a part of, of 1.0M"),
        ({"evidence": {"too_small_to_start": True}}, "too small for any program"),
    ],
)  # fmt: skip
def test_other_reasons(written, changes, said):
    lines = changed(**changes)
    lines[-2]["e"] = lines[-2]["result"]["verdict"]
    (trace,) = read_recording(written(lines)).traces
    assert said in " ".join(why(trace))


def test_the_table_has_the_verdict_and_the_evidence(written):
    recording = read_recording(written(WHOLE))
    table = dict(rows(recording, recording.traces[0]))
    assert table["verdict"] == "oom-killed" and table["ended by"] == "SIGKILL"
    assert table["highest usage"] == "60.0M" and table["of that, anonymous"] == "59.0M"
    assert table["limit hits"] == "3" and table["killed"] == "pid 7 (app)"
    assert table["high mark"] == "-" and table["command"] == "/bin/app -x"


# ---- in the terminal ---------------------------------------------------------------------------


def test_the_drawing(written):
    (trace,) = read_recording(written(WHOLE)).traces
    lines = plot(trace, Look(60, 6))
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].rstrip().endswith("✖")
    limit = next(line for line in lines if line.startswith("   60.0M"))
    assert "───" in limit
    legend = " ".join(lines[-2:])
    assert all(part in legend for part in ("█ anonymous 59.0M", "─ limit 60.0M", "✖ OOM kill"))
    assert "\x1b" not in "".join(lines)
    assert "\x1b[38;5;" in "".join(plot(trace, Look(60, 6, colours=True)))
    assert "".join(plot(trace, Look(60, 6, ascii=True))).isascii()


@pytest.mark.parametrize("width", [1, 30, 61, 200])
@pytest.mark.parametrize("height", [1, 3, 40])
def test_every_size_of_it(written, width, height):
    (trace,) = read_recording(written(WHOLE)).traces
    lines = plot(trace, Look(width, height))
    assert len([line for line in lines if "│" in line or "┤" in line]) == max(height, 3)
    assert max(map(len, lines[:-1])) <= max(width, 30)


@pytest.mark.parametrize(
    "lines",
    [
        [HEADER, STARTED, sample(0.0, 5 * M)],
        [HEADER, sample(0.0, 0)],
        [HEADER, STARTED, {"t": 0.0, "u": 0.5}],
        [HEADER, STARTED],
        [HEADER, STARTED, sample(0.0, 5 * M, m="max"), sample(1e6, 5 * M)],
        [HEADER, STARTED, sample(0.0, 5, m=1 << 50), sample(1.0, 5)],
    ],
)
def test_recordings_with_little_in_them(written, lines):
    recording = read_recording(written(lines))
    (trace,) = recording.traces
    assert isinstance(plot(trace, Look()), list)
    assert rows(recording, trace) and headline(trace)


def test_what_is_far_below_its_limit(written):
    lines = [HEADER, STARTED, sample(0.0, 5 * M, m=1 << 40), sample(1.0, 9 * M), END]
    (trace,) = read_recording(written(lines)).traces
    drawn = plot(trace, Look(80, 8))
    assert "limit 1.0T, far above" in drawn[-1]
    assert any("5.0M" in line for line in drawn[:-1])


def test_names_do_not_reach_the_terminal_raw(written, capfd):
    evil = "\x1b[2J\x1b]0;x\x07evil"
    lines = [HEADER, {**STARTED, "name": evil}, *WHOLE[2:-2],
             {"t": 2.0, "e": "exited", "text": f"done {evil}", "result": RESULT},
             {"t": 2.0, "e": "failed-to-start", "result": RESULT | {
                 "verdict": "failed-to-start", "oom_kill": 0, "error": evil}}]  # fmt: skip
    assert dispatch(["plot", written(lines)]) == 0
    out, err = capfd.readouterr()
    assert not {"\x1b", "\x07"} & set(out + err) and out.count("\\x1b[2J") >= 2


# ---- the commands' complaints ------------------------------------------------------------------


@pytest.mark.parametrize("command", ["report", "plot"])
def test_a_command_without_a_recording(command):
    with pytest.raises(InvalidValueError, match="no recording was given"):
        dispatch([command])


def test_a_report_without_matplotlib(written, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.delitem(__import__("sys").modules, "climits.observe.recordings.draw", raising=False)
    monkeypatch.delattr("climits.observe.recordings.draw", raising=False)
    monkeypatch.setattr("sys.stdout", io.StringIO())
    with pytest.raises(ClimitsError, match="needs matplotlib") as caught:
        dispatch(["report", written(WHOLE), "-o", str(tmp_path / "x.html")])
    assert "climits[report]" in caught.value.hint


# ---- what was killed ---------------------------------------------------------------------------


def kinds_told(recording):
    (trace,) = recording.traces
    table = dict(rows(recording, trace))
    return [table[f"of that, {kind}"] for kind in ("anonymous", "shared", "page cache")]


def killed(*victims, **more):
    evidence = {**RESULT["evidence"], "killed": list(victims)}
    return {"t": 2.0, "e": "oom-killed", "result": {**RESULT, "evidence": evidence}, **more}


VICTIM = {"pid": 7, "name": "app", "anon": 58 * M, "shmem": M}
BEFORE = [HEADER, STARTED, sample(0.0, M, a=0, s=0, f=M, k=0, m=60 * M, o=0, p=M)]
UNKNOWN = {"a": None, "s": None, "f": None, "k": None}


@pytest.mark.parametrize("known", [UNKNOWN, {"a": M}])
def test_the_kinds_of_a_kill_are_those_of_its_victim(written, known):
    """Nobody looked at that moment, or the usage was read before it and the kinds after it."""
    lines = [*BEFORE, sample(1.9, 60 * M, p=60 * M, **known), sample(1.9, M, a=0), killed(VICTIM)]
    recording = read_recording(written([*lines, END]))
    assert kinds_told(recording) == ["58.0M", "1.0M", "-"]
    assert "(97%) was anonymous" in " ".join(why(recording.traces[0]))
    assert "anonymous 58.0M" in "\n".join(plot(recording.traces[0], Look(width=120)))


def test_the_same_as_a_supervisor_tells_it(written):
    end = {"t": 2.0, "e": "oom-killed", "pid": 7, "oom_kill": 1, "memory_max": 60 * M,
           "killed": [VICTIM]}  # fmt: skip
    recording = read_recording(written([*BEFORE, sample(1.9, 60 * M, **UNKNOWN), end, END]))
    assert kinds_told(recording) == ["58.0M", "1.0M", "-"]
    assert dict(rows(recording, recording.traces[0]))["killed"] == "pid 7 (app)"


@pytest.mark.parametrize("victims", [[], [VICTIM, VICTIM], [{**VICTIM, "anon": 5 * M}]])
def test_kinds_that_nobody_knows_are_not_0(written, victims):
    lines = [*BEFORE, sample(1.9, 60 * M, **UNKNOWN), killed(*victims), END]
    recording = read_recording(written(lines))
    assert kinds_told(recording) == ["-", "-", "-"]
    assert "What filled it" not in " ".join(why(recording.traces[0]))


def test_what_was_seen_before_a_kill(written):
    """The kernel does not log each of many kills."""
    lines = [*BEFORE, sample(1.8, 20 * M, a=15 * M), sample(1.9, 60 * M, **UNKNOWN), killed(), END]
    recording = read_recording(written(lines))
    assert kinds_told(recording) == ["-", "-", "-"]
    assert (
        "in the end was not seen; 100ms before: 15.0M of 20.0M (75%) was anonymous memory"
    ) in " ".join(why(recording.traces[0]))


def test_a_sample_that_has_its_kinds_keeps_them(written):
    lines = [*BEFORE, sample(1.9, 60 * M, a=20 * M, f=30 * M), killed(VICTIM), END]
    assert kinds_told(read_recording(written(lines))) == ["20.0M", "0", "30.0M"]


def test_a_kill_between_two_looks(file, clock):
    """The peak is its usage; the kinds of the sample before it are not its kinds."""
    follower = Follower(file, 0, "/x")
    follower.take(Sampled(current=5, peak=5, anon=4, oom_kill=0))
    follower.take(Sampled(current=1, peak=60, anon=4, oom_kill=1))
    told = [line for line in lines_of(file) if "c" in line]
    assert told[1]["c"] == 60 and told[1]["a"] is None
    assert told[2]["c"] == 1 and told[2]["a"] == 4


# ---- what is damaged, what is not over ---------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"limited_by": 3}, {"name": 3}, {"pid": "x"}, {"limit": "x"}, {"usage": []},
        {"limited_by": True}, {"anon": "max"},
    ],
)  # fmt: skip
def test_a_victim_that_is_damaged(written, fields):
    recording = read_recording(written([*BEFORE, killed({**VICTIM, **fields}), END]))
    (trace,) = recording.traces
    assert (
        headline(trace)
        and why(trace)
        and all(isinstance(v, str) for _, v in rows(recording, trace))
    )


@pytest.mark.parametrize("verdict", [3, None, [], "other"])
def test_a_verdict_that_is_damaged(written, verdict):
    end = {"t": 2.0, "e": "exited", "result": {"verdict": verdict, "exit_status": 1.5}}
    recording = read_recording(written([*BEFORE, end, END]))
    assert recording.traces[0].result.verdict == "exited" and headline(recording.traces[0])


def test_a_program_that_has_not_ended_lasts_as_long_as_the_recording(written):
    lines = [HEADER, STARTED, {**STARTED, "i": 1}, sample(0.0, M), sample(0.0, M, i=1),
             {"t": 1.0, "i": 1, "e": "exited"}, {"t": 74999.9, "i": -1, "e": "x"}]  # fmt: skip
    recording = read_recording(written(lines))
    assert [trace.ended for trace in recording.traces] == [74999.9, 1.0]
    assert "good up to line 7, 20h50m" in recording.note()


# ---- the axes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("span", "labels"),
    [
        (0.002, "0 1ms 2ms"),
        (0.0044, "0 1ms 2ms 3ms 4ms"),
        (0.53, "0 200ms 400ms"),
        (60.0, "0 15s 30s 45s 1m"),
        (75000.0, "0 6h 12h 18h"),
    ],
)
def test_times_are_round(written, span, labels):
    lines = [HEADER, STARTED, sample(0.0, M), sample(span, M)]
    picture = plot(read_recording(written(lines)).traces[0], Look())
    axis = next(n for n, line in enumerate(picture) if "└" in line)
    assert picture[axis + 1].split() == labels.split()


@pytest.mark.parametrize("size", [0, 1, 900, 1500 << 10, 3000 << 10, 1900 * M, 5 << 40])
def test_sizes_are_round(written, size):
    lines = [HEADER, STARTED, sample(0.0, size), sample(1.0, size), END]
    picture = plot(read_recording(written(lines)).traces[0], Look())
    labels = [line.split("┤")[0].strip() for line in picture if "┤" in line]
    assert labels and all(float(label.rstrip("KMGT")) < 1000 for label in labels)


def test_each_kind_has_a_sign_of_its_own():
    signs = [sign for kind, (sign, _) in plot_module._LOOKS.items() if kind != "current"]
    plain = [sign.translate(plot_module._ASCII) for sign in signs]
    assert len(set(signs)) == len(signs) and len(set(plain)) == len(plain)


def test_an_event_that_is_heard_late_does_not_turn_time_back(tmp_path):
    """On a slow machine the ends of many programs are written long after they have happened."""
    path = str(tmp_path / "late.jsonl")
    late = recorder.SupervisorRecorder(path)
    late._file = recording_file.File(path, {}, print)
    late._file._t0 -= 10.0
    for ago in (0.0, 5.0, 0.2, 3.0):
        late._take({"time": time.time() - ago, "event": "signal", "signal": 15})
    late.end()
    recording = read_recording(path)
    assert recording.note() is None
    first, *others = [event.time for event in recording.events]
    assert first >= 10.0 and others == [first] * 3  # a reader lets no time go back
    with open(path) as file:
        times = [json.loads(line)["t"] for line in list(file)[1:]]
    assert [round(first - at, 1) for at in times[:4]] == [0.0, 0.5, 0.2, 0.5]
