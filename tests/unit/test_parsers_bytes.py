"""What comes from another process or an old file: a value, or the error that is documented.

Each is fed what is nearly right: whole messages with bytes changed, cut or put in, JSON of other
shapes, and JSON that is nested so deeply that Python's reader gives up.
"""

import json
import os
import socket
import sqlite3
import struct
from contextlib import closing
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from climits.batch.results import Results
from climits.errors import ClimitsError, InvalidValueError, UnsupportedError
from climits.history.entries import COLUMNS, Entry, from_row, new_values, read_spool, to_row
from climits.history.store import _INSERT, _SCHEMA
from climits.launch._spawn import spawn as raw_spawn
from climits.linux.dbus import Bus, Message, _read, address_path, marshal
from climits.linux.dbus import _unescape as unescape_address
from climits.observe.recordings.reader import read_recording
from climits.observe.setup.journal import Journal
from climits.pool.channel import Worker
from climits.pool.worker import RESULT
from climits.program.bundle import read_bundle
from climits.program.seccomp_profile import parse as parse_profile
from climits.program.seccomp_profile import read_file
from climits.supervise.client import Client
from climits.supervise.control import MAX_REQUEST, Control, _Client
from climits.units import UNLIMITED

DEEP = b"[" * 100_000
texts = st.text(st.characters(), max_size=6)  # lone surrogates too: JSON can hold them
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


def spoiled(data):
    """The bytes with a part of them replaced, left out or added to."""
    places = st.integers(0, len(data))
    return st.builds(
        lambda a, b, new: data[: min(a, b)] + new + data[max(a, b) :],
        places, places, st.binary(max_size=6),
    )  # fmt: skip


def shaped(like):
    """Objects of the shape of one, with some values changed to anything."""
    return st.dictionaries(st.sampled_from(sorted(like)), values, max_size=3).map(
        lambda changes: {**like, **changes}
    )


# ---- D-Bus ---------------------------------------------------------------------------------


def bus(data, has_ended=True):
    """A connection on which these bytes have come in."""
    ours, theirs = socket.socketpair()
    theirs.sendall(data)
    if has_ended:
        theirs.close()
    found = Bus.__new__(Bus)
    found._deadline, found._got, found._signals, found._serial = float("inf"), b"", [], 1
    found._socket, found._theirs = ours, theirs
    found._allow = lambda: None
    return found


def message(kind, fields, signature="", arguments=()):
    body = marshal(signature, arguments)
    fixed = struct.pack("<cBBBII", b"l", kind, 0, 1, len(body), 7)
    head = marshal("a(yv)", (fields,), start=fixed)
    return head + b"\0" * (-len(head) % 8) + body


ANSWER = message(
    2, [(5, ("u", 1)), (8, ("g", "sa(sv)y"))], "sa(sv)y",
    ("web", [("a", ("as", ["x"])), ("b", ("(tv)", (7, ("g", "ai"))))], 3),
)  # fmt: skip


def test_a_whole_answer_is_read():
    with bus(ANSWER)._socket:
        pass
    connection = bus(ANSWER)
    assert connection._next().body == ["web", [("a", ["x"]), ("b", (7, "ai"))], 3]
    connection.close()


def variants(depth):
    """An answer whose argument is a variant in a variant, and so on."""
    body = b"\1v\0" * depth + b"\1y\0\7"
    head = message(2, [(5, ("u", 1)), (8, ("g", "v"))])
    return head[:4] + struct.pack("<I", len(body)) + head[8:] + body


@given(spoiled(ANSWER) | spoiled(ANSWER * 2))
@example(variants(5000))
@example(message(2, [(8, ("u", 7))], "", ()))
@example(message(2, [(8, ("g", "a()")), (5, ("u", 1))], "au", ([1, 2],)))
@example(message(2, [(8, ("g", "aaaa{}"))], "au", ([1, 2],)))
def test_any_bytes_are_a_message_or_a_broken_connection(data):
    connection = bus(data)
    try:
        for _ in range(len(data)):
            assert isinstance(connection._next(), Message)
    except ConnectionError:
        pass
    finally:
        connection.close()


basic = {
    "y": st.integers(0, 255), "b": st.integers(0, 1), "n": st.integers(-(2**15), 2**15 - 1),
    "u": st.integers(0, 2**32 - 1), "x": st.integers(-(2**63), 2**63 - 1),
    "d": st.floats(allow_nan=False), "s": st.text(st.characters(exclude_characters="\0",
                                                                  codec="utf-8")),
}  # fmt: skip


def of_types(kinds):
    return st.tuples(st.just("".join(kinds)), st.tuples(*(basic[k] for k in kinds)))


typed = st.lists(st.sampled_from(sorted(basic)), min_size=1, max_size=4).flatmap(of_types)


@given(typed, st.lists(typed, max_size=3))
def test_what_is_written_is_read_again(flat, variants):
    signature, arguments = flat
    whole = f"({signature})a(sv)"
    given = (arguments, [("x", v if len(v[0]) == 1 else (f"({v[0]})", v[1])) for v in variants])
    for pair in given[1]:
        kind, value = pair[1]
        given[1][given[1].index(pair)] = ("x", (kind, value[0] if len(kind) == 1 else value))
    again, end = _read(marshal(whole, given), 0, whole, "<")
    expected = [arguments, [(name, value) for name, (_, value) in given[1]]]
    assert again == expected and end == len(marshal(whole, given))


pieces = st.sampled_from(
    ["unix", ":", "path=", "/run/x", ",", ";", "%2f", "%", "%zz", "abstract=", "=", "é", "\udcff"]
)


@given(st.lists(pieces, max_size=8).map("".join))
def test_any_address_of_a_bus_is_a_path_or_none(address):
    path = address_path(address)
    assert path is None or isinstance(path, str) or path.startswith(b"\0")


@given(st.binary(max_size=12))
def test_an_escaped_address_comes_back(data):
    assert unescape_address("".join(f"%{byte:02x}" for byte in data)) == data


# ---- the supervisor's socket ---------------------------------------------------------------


class Supervisor:
    """Knows one program, and counts what it is told."""

    def __init__(self):
        self.calls = []
        program = SimpleNamespace(facts=lambda: {"name": "web"})
        for name in ("start", "restart", "set_limit"):
            setattr(program, name, lambda *args, name=name: self.calls.append(name) or 7)
        self.programs = {"web": program}
        self.loop = SimpleNamespace(
            watch=lambda *args: None, forget=lambda fd: None,
            after=lambda *args: SimpleNamespace(cancel=lambda: None),
        )  # fmt: skip
        self.stop = lambda names: self.calls.append("stop")
        self.reload = lambda: self.calls.append("reload")
        self.shut_down = lambda: self.calls.append("shut_down")

    def find(self, name):
        if name not in self.programs:
            raise InvalidValueError(f"no such program: {name}")
        return self.programs[name]


REQUEST = {"command": "status", "programs": ["web"], "program": "web", "memory": "9M",
           "follow": False}  # fmt: skip
requests = st.one_of(
    st.binary(max_size=40),
    values.map(lambda v: json.dumps(v).encode()),
    st.builds(
        lambda request, command: json.dumps({**request, "command": command}).encode(),
        shaped(REQUEST),
        st.sampled_from(["status", "start", "stop", "restart", "set-limit", "events", "reload"]),
    ),
)


@given(st.lists(requests, max_size=5))
@example([DEEP[:60_000]])
@example([b'{"command": "set-limit", "program": "web", "memory": true}'])
def test_each_request_has_one_answer_whatever_it_says(lines):
    control = Control.__new__(Control)
    control.supervisor, control.clients, control.kept = Supervisor(), set(), [{"event": "x"}]
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    client = _Client(control, theirs)
    control.clients.add(client)
    data = b"".join(line.replace(b"\n", b" ") + b"\n" for line in lines)
    ours.sendall(data)
    ours.shutdown(socket.SHUT_WR)
    for _ in range(len(data) // MAX_REQUEST + 3):
        if theirs.fileno() >= 0:
            client._read()
    with ours, ours.makefile("rb") as file:
        answers = [json.loads(line) for line in file]
    theirs.close()
    assert len(answers) == len(lines)
    for answer in answers:
        assert ("result" in answer) if answer["ok"] else answer["error"]


def test_a_request_without_an_end_is_refused():
    control = Control.__new__(Control)
    control.supervisor, control.clients = Supervisor(), set()
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    client = _Client(control, theirs)
    ours.sendall(b"x" * MAX_REQUEST)
    client._read()
    assert theirs.fileno() >= 0
    ours.sendall(b"x")
    client._read()
    assert theirs.fileno() < 0
    with ours, ours.makefile("rb") as file:
        assert json.loads(file.readline())["error"] == f"a request of more than {MAX_REQUEST} bytes"
        assert not file.readline()


@given(st.one_of(
    st.binary(max_size=40).filter(lambda data: b"\n" not in data),
    values.map(lambda v: json.dumps(v).encode()),
    shaped({"ok": False, "error": "x", "hint": None}).map(lambda v: json.dumps(v).encode()),
))  # fmt: skip
@example(b'{"ok": false}')
@example(b'{"ok": false, "error": ""}')
@example(DEEP)
def test_any_answer_is_one_or_an_error(line):
    ours, theirs = socket.socketpair()
    with Client.over(ours) as client:
        theirs.sendall(line + b"\n")
        theirs.shutdown(socket.SHUT_WR)
        try:
            client.request("status")
        except ClimitsError as e:
            assert str(e)
        theirs.close()


# ---- old files -----------------------------------------------------------------------------

ENTRY = Entry(
    started=1.5, source="run", name="web", command=["app", "x"], cwd="/", verdict="exited",
    exit_status=0, memory_max=UNLIMITED, user="7",
)  # fmt: skip


def spool_line(entry=ENTRY, uid=4_000_000_000, **changes):
    named = dict(zip(COLUMNS, new_values(entry, 1), strict=True))
    return json.dumps([1, *{**named, "user": uid, **changes}.values()]).encode()


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    return tmp_path_factory.mktemp("old")


def write(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return str(path)


@given(st.lists(st.one_of(
    spoiled(spool_line()).filter(lambda line: b"\n" not in line),
    values.map(lambda v: json.dumps(v).encode()),
    st.dictionaries(st.sampled_from(COLUMNS), values, max_size=2)
    .map(lambda changes: spool_line(**changes)),
), max_size=3))  # fmt: skip
@example([DEEP])
@example([spool_line(name="\ud800")])
@example([spool_line(name=7)])
@example([spool_line(uid="x")])
@example([spool_line(uid=2**70)])
def test_a_damaged_line_takes_no_other_along(room, lines):
    path = write(room / "spool", b"\n".join([spool_line(), *lines, spool_line()]) + b"\n")
    rows = read_spool(path)
    assert len(rows) >= 2
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute(_SCHEMA)
        for number, row in enumerate(rows):
            db.execute(_INSERT, (number, *row[1:]))
        stored = db.execute("SELECT * FROM runs ORDER BY token").fetchall()
    assert len(stored) == len(rows)
    for row in stored:
        assert from_row(row).as_dict()["verdict"] is not None
    assert from_row(rows[0]) == from_row(rows[-1]) == ENTRY.replace(user="4000000000")


@given(st.builds(
    Entry, started=st.floats(0, 1e10), source=st.sampled_from(["run", "batch"]),
    name=st.none() | st.text(), command=st.lists(st.text(st.characters())), verdict=st.just("x"),
    exit_status=st.integers(0, 255), memory_max=st.none() | st.just(UNLIMITED) | st.integers(0),
))  # fmt: skip
def test_an_entry_comes_back_from_its_row(entry):
    assert from_row(to_row([*new_values(entry, 7)])) == entry


HEADER = {"climits": "recording", "schema": 1, "time": 1.7e9, "command": ["/bin/app"]}
LINES = [
    {"t": 0.0, "e": "started", "cgroup": "/climits/app", "name": "app", "pid": 7},
    {"t": 0.1, "c": 5, "a": 4, "m": "max", "o": 0, "i": 0},
    {"t": 0.2, "e": "gap", "since": 0.15, "lost": "events", "count": 1},
    {"t": 0.3, "e": "oom-killed", "result": {"verdict": "oom-killed", "evidence": {"killed": []}}},
    {"t": 0.4, "e": "end"},
]


@given(st.lists(st.one_of(values, *map(shaped, LINES)), max_size=4), st.binary(max_size=9))
@example([{"t": 10**400, "c": 1}], b"")
@example([{"t": 0.1, "i": 2**200, "c": 1}], b"")
@example([], DEEP + b"\n")
@example([{"t": 0.3, "e": "oom-killed", "result": {"evidence": {"killed": [{"pid": []}]}}}], b"")
def test_what_is_good_of_a_recording_is_read(room, lines, rest):
    data = "".join(json.dumps(line) + "\n" for line in [HEADER, *lines]).encode() + rest
    recording = read_recording(write(room / "recording", data))
    assert 1 <= recording.lines <= 1 + len(lines) + data.count(b"\n")
    assert recording.problem is None or recording.problem.isprintable()


@given(shaped(HEADER).map(lambda v: json.dumps(v).encode()) | spoiled(json.dumps(HEADER).encode()))
@example(b'{"climits": "recording", "schema": 1e999, "time": 0}')
@example(DEEP)
def test_the_first_line_of_a_recording_is_one_or_refused(room, line):
    try:
        recording = read_recording(write(room / "recording", line + b"\n"))
    except InvalidValueError as e:
        assert str(e).isprintable()
    else:
        assert recording.lines >= 1


RESULT_LINE = {"job": "a", "ok": True, "fingerprint": "f0"}


@given(st.lists(
    shaped(RESULT_LINE).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=20), max_size=4
))  # fmt: skip
@example([DEEP])
@example([b'{"fingerprint": [], "ok": true}'])
@example([b'"fingerprint"', b'["fingerprint"]', b"9" * 5000])
def test_a_result_that_is_none_hurts_no_other(room, lines):
    good = json.dumps(RESULT_LINE).encode()
    data = b"\n".join([good, *lines, good, b""])
    results = Results(write(room / "results", data), resume=True)
    results.close()
    assert results.succeeded["f0"] >= 2
    assert 0 <= results.torn <= data.count(b"\n") - 2


NOTE = {"kind": "x", "target": "/x", "for": ["a"], "lasts": True, "note": {}, "finished": True}


@given(st.one_of(
    values, st.lists(shaped(NOTE), max_size=2).map(lambda found: {"changes": found}),
    st.dictionaries(st.sampled_from(["changes", "schema"]), values),
).map(lambda v: json.dumps(v).encode()) | st.binary(max_size=20) | st.just(DEEP))  # fmt: skip
@example(b'{"changes": [7]}')
@example(b'{"changes": [{}]}')
@example(b'{"changes": 7}')
@example(b"\xff\xfe")
def test_what_setup_has_noted_is_read_or_refused(room, data):
    write(room / "setup.json", data)
    journal = Journal((str(room), str(room / "none")))
    try:
        journal.load()
    except ClimitsError as e:
        assert str(e).startswith(f"cannot read what setup has changed: {room}/setup.json: ")
    else:
        assert journal.find("no such", "thing") is None


# ---- files of a person's -------------------------------------------------------------------

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1, "architectures": ["SCMP_ARCH_X86_64"],
    "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
        {"index": 0, "value": 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        "includes": {"caps": ["CAP_CHOWN"], "minKernel": "4.8"}, "excludes": {"arches": ["s390"]}}],
}  # fmt: skip
syscalls = st.lists(shaped(PROFILE["syscalls"][0]), max_size=2)
arguments = shaped(PROFILE["syscalls"][0]["args"][0]).map(
    lambda argument: [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [argument]}]
)


@given(shaped(PROFILE), st.none() | syscalls | arguments)
def test_a_profile_is_one_or_refused(table, calls):
    if calls is not None:
        table = {**table, "syscalls": calls}
    try:
        assert parse_profile(table, "x").rules is not None
    except (InvalidValueError, UnsupportedError) as e:
        assert str(e).startswith("x: ") and str(e).isprintable()


@given(spoiled(json.dumps(PROFILE).encode()) | st.binary() | st.just(DEEP))
def test_a_profile_file_is_an_object_or_refused(room, data):
    try:
        assert isinstance(read_file(write(room / "profile", data)), dict)
    except InvalidValueError as e:
        assert str(e).startswith("seccomp: ") and str(e).isprintable()


BUNDLE = {
    "ociVersion": "1.0.2", "hostname": "x",
    "process": {"args": ["/bin/true"], "cwd": "/", "env": ["A=1"], "user": {"uid": 0, "gid": 0}},
    "root": {"path": "rootfs", "readonly": True},
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]}],
    "linux": {"namespaces": [{"type": "pid"}], "resources": {"memory": {"limit": 1 << 26}}},
}  # fmt: skip


def bundles():
    inner = [shaped(BUNDLE[key]).map(lambda v, key=key: {**BUNDLE, key: v})
             for key in ("process", "root", "linux")]  # fmt: skip
    deeper = [
        shaped(BUNDLE["mounts"][0]).map(lambda v: {**BUNDLE, "mounts": [v]}),
        shaped(BUNDLE["process"]["user"]).map(
            lambda v: {**BUNDLE, "process": {**BUNDLE["process"], "user": v}}
        ),
        shaped({"limit": 1, "swap": 1, "reservation": 1}).map(
            lambda v: {**BUNDLE, "linux": {"resources": {"memory": v}}}
        ),
    ]
    return st.one_of(shaped(BUNDLE), *inner, *deeper)


@given(bundles().map(lambda v: json.dumps(v).encode()) | spoiled(json.dumps(BUNDLE).encode()),
       st.booleans())  # fmt: skip
@example(DEEP, True)
@example(json.dumps({**BUNDLE, "process": {"args": ["\ud800"]}}).encode(), True)
def test_a_bundle_is_one_or_refused(room, data, ignore):
    folder = room / "bundle"
    (folder / "rootfs").mkdir(parents=True, exist_ok=True)
    write(folder / "config.json", data)
    try:
        command, _, left_out = read_bundle(folder, ignore)
    except (InvalidValueError, UnsupportedError) as e:
        assert str(e).isprintable()
    else:
        assert command[0] and all(text.isprintable() for text in left_out)


# ---- a worker's answers --------------------------------------------------------------------

answers = st.lists(
    st.tuples(st.integers(0, 2**32), st.integers(1, 9), st.integers(0, 255),
              st.integers(-1, 2**40), st.floats(0, 1e6), st.binary(max_size=9)), max_size=5,
)  # fmt: skip


@given(answers, st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_answers_come_whole_in_whatever_pieces(sent, sizes):
    data = b"".join(RESULT.pack(n, len(d), s, f, p, t) + d for n, s, f, p, t, d in sent)
    worker = Worker.__new__(Worker)
    worker._buffer, worker.ready = b"", False
    worker.results, write_end = os.pipe()
    os.set_blocking(worker.results, False)
    found = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        os.write(write_end, data[at : at + size])
        at, turn = at + size, turn + 1
        found += worker.answers()
    assert found == sent and worker._buffer == b"" and worker.answers() == []
    os.close(worker.results)
    os.close(write_end)


# ---- the table of steps --------------------------------------------------------------------

step_parts = st.one_of(
    st.none(), st.integers(), st.binary(max_size=5), st.text(max_size=5), st.floats(),
    st.tuples(st.integers()), st.tuples(st.text(max_size=2)), st.tuples(),
)  # fmt: skip
any_step = st.one_of(
    step_parts,
    st.tuples(st.sampled_from(["close", "write", "nothing", "exit_group", "", "é"]),
              st.lists(step_parts, max_size=7).map(tuple), step_parts),
    st.lists(step_parts, max_size=6).map(tuple),
)  # fmt: skip


@given(st.lists(any_step, max_size=6), st.lists(any_step, max_size=3))
def test_a_table_with_a_fault_is_refused_before_anything_starts(before, behind):
    steps = (*before, ("no such call", (), None, "fail"), *behind)
    with pytest.raises((TypeError, ValueError, OverflowError)):
        raw_spawn(steps, (b"/bin/true",), (b"true",), (), 0, -1, 2**64 - 1)


@given(st.lists(step_parts, max_size=4).map(tuple), st.sampled_from([0, 1, 2]))
def test_arguments_that_are_no_bytes_are_refused_before_anything_starts(words, where):
    lists = [(b"/bin/true",), (b"true",), ()]
    lists[where] = (*words, "text, or a NUL")
    with pytest.raises((TypeError, ValueError)):
        raw_spawn((), *lists, 0, -1, 2**64 - 1)
    lists[where] = (b"a\0b",)
    with pytest.raises(ValueError, match="null byte"):
        raw_spawn((), *lists, 0, -1, 2**64 - 1)
