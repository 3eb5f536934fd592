import json
import os
import select
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import until

from climits.cgroup.triggers import SOURCES, Event, Trigger, make_trigger, parse_trigger
from climits.errors import CgroupGoneError, InvalidValueError
from climits.supervise import workers
from climits.supervise.actions import MOST_COMMANDS, Actor
from climits.supervise.alarms import Alarm, make_alarm, parse_alarm, parse_url
from climits.supervise.config_values import signal_number
from climits.supervise.workers import Worker

MIB = 1 << 20


# ---- triggers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("threshold=32M", {"level": 32 * MIB}),
        ("threshold=4096", {"level": 4096}),
        ("threshold=80%", {"fraction": 0.8}),
        ("threshold=12.5%", {"fraction": 0.125}),
        ("threshold=100%", {"fraction": 1.0}),
        ("swap=10M", {"level": 10 * MIB}),
        ("oom", {}),
        ("under-oom", {}),
        ("limit", {}),
        ("populated", {}),
        ("empty", {}),
        ("pressure=some 150ms/1s", {"share": "some", "stall": 0.15, "window": 1.0}),
        ("pressure=full=1s/10s", {"share": "full", "stall": 1.0, "window": 10.0}),
        ("pressure=some 0.5/500ms", {"share": "some", "stall": 0.5, "window": 0.5}),
        ("pressure=low", {"share": "low"}),
        ("pressure=critical", {"share": "critical"}),
    ],
)
def test_a_trigger_is_read(text, fields):
    assert parse_trigger(text) == Trigger(source=text.partition("=")[0], **fields)


@pytest.mark.parametrize(
    "text", ["threshold=80%", "swap=10.0M", "oom", "pressure=some 150ms/1s", "pressure=low"]
)
def test_a_trigger_can_be_shown(text):
    assert str(parse_trigger(text)) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "source: missing"),
        ("memory", "source: 'memory': not a source"),
        ("threshold", "level: threshold needs a level"),
        ("threshold=", "level: empty"),
        ("threshold=32MB", "level: 32MB: MB can mean powers of 1000 or of 1024"),
        ("threshold=0", "level: 0: must be more than 0 and less than max"),
        ("threshold=max", "level: max: must be more than 0 and less than max"),
        ("threshold=0%", "level: 0%: must be more than 0% and at most 100%"),
        ("threshold=101%", "level: 101%: must be more than 0% and at most 100%"),
        ("threshold=x%", "level: x%: not a size"),
        ("swap=50%", "level: 50%: a percentage has no meaning here"),
        ("oom=1", "level: oom has no level"),
        ("empty=", "level: empty has no level"),
        ("pressure", "level: pressure needs a level"),
        ("pressure=some", "level: some: not a pressure"),
        ("pressure=none 1ms/1s", "level: none 1ms/1s: not a pressure"),
        ("pressure=low 1ms/1s", "level: low 1ms/1s: not a pressure"),
        ("pressure=some 1ms", "level: some 1ms: not a pressure"),
        ("pressure=some x/1s", "level: x: not a duration"),
        ("pressure=some 1ms/x", "level: x: not a duration"),
        ("pressure=some 1ms/100ms", "level: some 1ms/100ms: the kernel takes windows of 500ms"),
        ("pressure=some 1ms/11s", "level: some 1ms/11s: the kernel takes windows of 500ms to 10s"),
        ("pressure=some 0/1s", "level: some 0/1s: the time lost must be more than 0"),
        ("pressure=some 2s/1s", "level: some 2s/1s: the time lost must be more than 0 and fit"),
    ],
)
def test_what_is_no_trigger_is_refused(text, message):
    with pytest.raises(InvalidValueError) as caught:
        parse_trigger(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("source", "level", "hysteresis", "message"),
    [
        ("oom", None, "1M", "hysteresis: oom has none"),
        ("pressure", "low", "1M", "hysteresis: pressure has none"),
        ("threshold", "1M", "1M", "hysteresis: 1M: not below the level of 1.0M"),
        ("threshold", "1M", "x", "hysteresis: x: not a size"),
        ("threshold", "1M", "0", "hysteresis: 0: must be more than 0"),
        ("threshold", True, None, "level: True: not a size"),
        (["oom"], None, None, "source: ['oom']: not a source"),
    ],
)
def test_what_does_not_go_together_is_refused(source, level, hysteresis, message):
    with pytest.raises(InvalidValueError) as caught:
        make_trigger(source, level, hysteresis)
    assert str(caught.value).startswith(message)


def test_hysteresis_is_a_size():
    wanted = Trigger(source="threshold", level=32 * MIB, hysteresis=4 * MIB)
    assert make_trigger("threshold", 32 * MIB, "4M") == wanted
    assert make_trigger("threshold", "80%", "4M").hysteresis == 4 * MIB


# ---- alarms --------------------------------------------------------------------------------


def test_an_alarm_has_a_trigger_and_actions():
    alarm = make_alarm(
        {
            "source": "threshold",
            "level": "80%",
            "hysteresis": "4M",
            "signal": "TERM",
            "exec": "./dump.sh --all 'a b'",
            "webhook": "http://localhost:8080/x",
            "freeze": True,
            "grow": "1.5",
            "grow_max": "500M",
            "reclaim": "10M",
        }
    )
    assert alarm == Alarm(
        trigger=Trigger(source="threshold", fraction=0.8, hysteresis=4 * MIB),
        signal=15,
        command=["./dump.sh", "--all", "a b"],
        webhook="http://localhost:8080/x",
        freeze=True,
        grow=1.5,
        grow_max=500 * MIB,
        reclaim=10 * MIB,
    )


def test_what_is_none_was_not_given():
    assert make_alarm({"source": "oom", "level": None, "signal": None}) == Alarm(
        trigger=Trigger(source="oom")
    )


def test_values_of_a_toml_file_are_taken_too():
    alarm = make_alarm(
        {"source": "swap", "level": 4096, "signal": 10, "exec": ["a", "b c"], "grow": 2,
         "grow_max": 1 << 30, "freeze": False}
    )  # fmt: skip
    assert (alarm.signal, alarm.command, alarm.grow, alarm.freeze) == (10, ["a", "b c"], 2.0, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "source: missing"),
        ({"source": "oom", "singal": "TERM"}, "singal: no such key of an alarm"),
        ({"source": "threshold"}, "level: threshold needs a level"),
        ({"source": "oom", "signal": "FOO"}, "signal: FOO: no such signal"),
        ({"source": "oom", "signal": 0}, "signal: 0: no such signal"),
        ({"source": "oom", "signal": 65}, "signal: 65: no such signal"),
        ({"source": "oom", "signal": "1" * 5000}, "signal: 1111"),
        ({"source": "oom", "signal": 16**5000}, "signal: an integer of 20001 bits: no such"),
        ({"source": "oom", "signal": "SIG15"}, "signal: SIG15: no such signal"),
        ({"source": "oom", "signal": True}, "signal: true: not text"),
        ({"source": "oom", "signal": -15}, "signal: -15: no such signal"),
        ({"source": "oom", "exec": ""}, "exec: empty"),
        ({"source": "oom", "exec": "  "}, "exec: empty"),
        ({"source": "oom", "exec": "''"}, "exec: empty"),
        ({"source": "oom", "exec": "a 'b"}, "exec: a 'b: no closing quotation"),
        ({"source": "oom", "exec": 3}, "exec: 3: neither text nor a list of words"),
        ({"source": "oom", "exec": []}, "exec: empty"),
        ({"source": "oom", "exec": [1]}, "exec[0]: 1: not text"),
        ({"source": "oom", "exec": ["a\0"]}, "exec[0]: 'a\\x00': a NUL byte may not stand in it"),
        ({"source": "oom", "webhook": "localhost"}, "webhook: 'localhost': not a URL"),
        ({"source": "oom", "webhook": "ftp://x/"}, "webhook: 'ftp://x/': not a URL"),
        ({"source": "oom", "webhook": "http:///x"}, "webhook: 'http:///x': not a URL"),
        ({"source": "oom", "webhook": "http://x:y/"}, "webhook: 'http://x:y/': not a URL"),
        ({"source": "oom", "webhook": "http://x/\n"}, "webhook: 'http://x/\\n': not a URL"),
        ({"source": "oom", "webhook": "http://x/a b"}, "webhook: 'http://x/a b': not a URL"),
        ({"source": "oom", "freeze": "maybe"}, "freeze: 'maybe': neither yes nor no"),
        ({"source": "oom", "freeze": 1.5}, "freeze: 1.5: neither yes nor no"),
        ({"source": "oom", "grow": "1.5"}, "grow_max: missing: grow goes with it"),
        ({"source": "oom", "grow_max": "1M"}, "grow: missing: grow_max goes with it"),
        ({"source": "oom", "grow": "1", "grow_max": "1M"}, "grow: 1: not a factor above 1"),
        ({"source": "oom", "grow": "nan", "grow_max": "1M"}, "grow: nan: not a factor above 1"),
        ({"source": "oom", "grow": "inf", "grow_max": "1M"}, "grow: inf: not a factor above 1"),
        ({"source": "oom", "grow": True, "grow_max": "1M"}, "grow: True: not a factor above 1"),
        ({"source": "oom", "grow": [], "grow_max": "1M"}, "grow: []: not a factor above 1"),
        ({"source": "oom", "grow": 2, "grow_max": "max"}, "grow_max: max: must be more than 0"),
        ({"source": "oom", "reclaim": "x"}, "reclaim: x: not a size"),
        ({"source": "oom", "reclaim": 0}, "reclaim: 0: must be more than 0"),
    ],
)
def test_what_is_no_alarm_is_refused_by_its_key(options, message):
    with pytest.raises(InvalidValueError) as caught:
        make_alarm(options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("oom", {"source": "oom"}),
        ("threshold=80%,signal=TERM", {"source": "threshold", "level": "80%", "signal": 15}),
        ("oom,exec=./a 'b, c' \"d,e\"", {"source": "oom", "exec": ["./a", "b, c", "d,e"]}),
        ("oom,webhook='http://x/?a,b'", {"source": "oom", "webhook": "http://x/?a,b"}),
        ("oom,exec='a b'", {"source": "oom", "exec": ["a b"]}),
        ("oom,exec='a,b',signal=15", {"source": "oom", "exec": ["a,b"], "signal": 15}),
        ("oom,freeze", {"source": "oom", "freeze": True}),
        ("oom,freeze=yes", {"source": "oom", "freeze": True}),
        ("oom,freeze=true", {"source": "oom", "freeze": True}),
        ("oom,freeze=no", {"source": "oom", "freeze": False}),
        ("oom,freeze=false", {"source": "oom", "freeze": False}),
        (
            "threshold=64M,hysteresis=4M,grow=1.5,grow-max=1G",
            {"source": "threshold", "level": "64M", "hysteresis": "4M", "grow": 1.5,
             "grow_max": "1G"},
        ),
        (
            "pressure=some 150ms/1s,reclaim=10M",
            {"source": "pressure", "level": "some 150ms/1s", "reclaim": "10M"},
        ),
        ("pressure=some=150ms/1s", {"source": "pressure", "level": "some 150ms/1s"}),
    ],
)  # fmt: skip
def test_an_alarm_is_one_word_too(text, options):
    assert parse_alarm(text) == make_alarm(options)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "empty: no such source of an alarm", None),
        ("tresh=1", "tresh: no such source of an alarm", "did you mean threshold?"),
        ("oom,", "empty: no such key of an alarm", None),
        ("oom,sginal=TERM", "sginal: no such key of an alarm", "did you mean signal?"),
        ("oom,exec=a,b", "b: no such key of an alarm", None),
        ("oom,source=oom", "source: no such key of an alarm", None),
        (
            "oom,zzz",
            "zzz: no such key of an alarm",
            "there are hysteresis, signal, exec, webhook, freeze, grow, grow_max, reclaim",
        ),
        ("oom,freeze=''", "freeze: '': neither yes nor no", None),
        ("oom,signal", "signal: needs a value", "write signal=..."),
        ("oom,signal=1,signal=2", "signal: given twice", None),
    ],
)
def test_what_is_no_such_word_is_refused(text, message, hint):
    with pytest.raises(InvalidValueError) as caught:
        parse_alarm(text)
    assert str(caught.value) == message
    assert hint is None or caught.value.hint == hint


@pytest.mark.parametrize(
    ("options", "value", "hint"),
    [
        ({"signal": "FOO"}, "FOO", "write it like TERM, or its number"),
        ({"signal": "TREM"}, "TREM", "did you mean TERM?"),
        ({"signal": "SIGTREM"}, "SIGTREM", "did you mean TERM?"),
        ({"webhook": "x"}, "x", "write it like http://localhost:8080/"),
        ({"webhook": "http://x:0/"}, "http://x:0/", "write it like http://localhost:8080/"),
        ({"freeze": "maybe"}, "maybe", None),
        ({"grow": 0, "grow_max": "1M"}, 0, "write it like 1.5"),
        ({"grow": 2}, None, "say both: how much more, and how far, like grow 1.5 and grow_max "
         "500M"),
        ({"zzz": 1}, "zzz", "there are source, level, hysteresis, signal, exec, webhook, freeze, "
         "grow, grow_max, reclaim"),
    ],
)  # fmt: skip
def test_what_is_no_alarm_comes_with_its_value_and_a_way_out(options, value, hint):
    with pytest.raises(InvalidValueError) as caught:
        make_alarm({"source": "oom", **options})
    assert (caught.value.value, caught.value.hint) == (value, hint)


@given(st.one_of(st.text(), st.tuples(st.sampled_from(SOURCES), st.text()).map("=".join)))
def test_any_word_is_read_or_refused(text):
    try:
        assert isinstance(parse_alarm(text), Alarm)
    except InvalidValueError as e:
        assert "\n" not in str(e) or "\n" in text


@given(st.dictionaries(st.sampled_from(("level", "signal", "exec", "webhook", "freeze", "grow",
                                        "grow_max", "reclaim", "hysteresis")),
                       st.one_of(st.text(), st.integers(), st.floats(), st.booleans(),
                                 st.lists(st.text())), min_size=1),
       st.sampled_from(SOURCES))  # fmt: skip
def test_any_table_is_read_or_refused_by_a_key(options, source):
    try:
        make_alarm({"source": source, **options})
    except InvalidValueError as e:
        assert str(e).partition(":")[0] in ("source", *options, "grow", "grow_max", "level")


@pytest.mark.parametrize("word", ["TERM", "term", "SIGTERM", "15", 15])
def test_signals(word):
    assert signal_number(word) == signal.SIGTERM


def test_signals_with_two_names():
    assert [signal_number(word) for word in ("CLD", "SIGCHLD", "IOT")] == [17, 17, 6]


def test_urls():
    for url in ("http://localhost/", "http://x:1/", "https://[::1]:8443/a?b=c", "http://user@host"):
        assert parse_url(url) == url


# ---- the actor -----------------------------------------------------------------------------

EVENT = Event(
    kind="threshold",
    cgroup="/climits/web",
    time=1000.5,
    current=33 * MIB,
    level=32 * MIB,
    trigger=Trigger(source="threshold", level=32 * MIB),
)


class Group:
    """Stands for a cgroup that must not be touched."""

    path = "/climits/web"

    @property
    def memory(self):
        raise CgroupGoneError("the cgroup was removed", hint="too late")

    freezer = memory


@pytest.fixture
def actor():
    actor = Actor()
    yield actor
    actor.close()


def alarm(**actions):
    return Alarm(trigger=EVENT.trigger, **actions)


def perform(actor, **actions):
    return actor.perform(alarm(**actions), EVENT, Group(), lambda number: None)


def test_an_alarm_without_actions_does_nothing(actor):
    assert perform(actor) == []
    assert not actor.busy and actor.turn() == []


def test_a_command_gets_the_event(actor, tmp_path):
    out = tmp_path / "out"
    script = 'cat; echo "$CLIMITS_EVENT $CLIMITS_CGROUP $CLIMITS_CURRENT $CLIMITS_LEVEL $HOME"'
    [line] = perform(actor, command=["sh", "-c", f"({script}) > {out}"])
    assert line.startswith("started sh (pid ")
    assert actor.busy
    assert actor.finish() == [] and not actor.busy
    given, told = out.read_text().splitlines()
    assert json.loads(given) == EVENT.as_dict()
    home = os.environ.get("HOME", "")
    assert told == f"threshold /climits/web {33 * MIB} {32 * MIB} {home}".rstrip()


def test_a_command_leads_a_session_and_writes_to_standard_error(actor, tmp_path, capfd):
    script = f"echo hello; ps -o sid= -p $$ > {tmp_path}/sid; ls /proc/self/fd > {tmp_path}/fds"
    pid = perform(actor, command=["sh", "-c", script])[0].rpartition(" ")[2].rstrip(")")
    actor.finish()
    assert capfd.readouterr() == ("", "hello\n")
    assert (tmp_path / "sid").read_text().strip() == pid
    assert (tmp_path / "fds").read_text().split() == ["0", "1", "2", "3"]  # 3: of ls itself


def test_a_command_has_the_signal_mask_that_was_asked_for(tmp_path):
    out = tmp_path / "out"
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    actor = Actor(sigmask=0)
    try:
        perform(actor, command=["sh", "-c", f"grep SigBlk /proc/self/status > {out}"])
        actor.finish()
    finally:
        actor.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
    assert int(out.read_text().split()[1], 16) == 0


@pytest.mark.parametrize(
    ("script", "how"), [("exit 3", "exit status 3"), ("kill -9 $$", "ended by signal 9")]
)
def test_a_command_that_fails_is_told(actor, script, how):
    perform(actor, command=["sh", "-c", script])
    [line] = actor.finish()
    assert line.startswith("failed: sh (pid ") and line.endswith(how)


def test_a_command_that_is_not_there_is_told(actor):
    [line] = perform(actor, command=["/no/such/command"])
    assert line.startswith("cannot start /no/such/command: ")
    assert not actor.busy


def test_a_command_that_takes_too_long_is_killed_with_its_children(tmp_path):
    out = tmp_path / "child"
    actor = Actor(timeout=0.2)
    try:
        perform(actor, command=["sh", "-c", f"sleep 1000 & echo $! > {out}; wait"])
        [line] = actor.finish()
        assert line.startswith("killed sh (pid ") and line.endswith("it took too long")
        child = int(out.read_text())
        until(lambda: not os.path.exists(f"/proc/{child}") or is_zombie(child))
    finally:
        actor.close()


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_no_more_than_so_many_commands_run_at_once(actor):
    lines = [perform(actor, command=["sleep", "1000"])[0] for _ in range(MOST_COMMANDS + 1)]
    assert all(line.startswith("started sleep") for line in lines[:-1])
    assert lines[-1] == f"not started: sleep: {MOST_COMMANDS} commands of alarms run already"


def test_closing_kills_what_runs_and_gives_all_back():
    before = sorted(os.listdir("/proc/self/fd"))
    actor = Actor()
    perform(actor, command=["sleep", "1000"])
    actor.close()
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_command_that_somebody_else_has_reaped_is_forgotten(actor):
    line = perform(actor, command=["sh", "-c", "exit 3"])[0]
    os.waitpid(int(line.rpartition(" ")[2].rstrip(")")), 0)
    assert actor.finish() == [] and not actor.busy


def test_it_sleeps_while_a_command_runs(actor):
    perform(actor, command=["sleep", "1000"])
    poll = select.poll()
    poll.register(actor, select.POLLIN)
    assert poll.poll(300) == []


def test_signals_are_sent_through_the_callers_hands(actor):
    sent = []
    lines = actor.perform(alarm(signal=15), EVENT, Group(), sent.append)
    assert (lines, sent) == (["sent SIGTERM"], [15])
    assert actor.perform(alarm(signal=40), EVENT, Group(), sent.append) == ["sent signal 40"]


def test_one_action_that_fails_does_not_keep_the_others_from_being_done(actor):
    def refuse(number):
        raise PermissionError(1, "no")

    lines = actor.perform(
        alarm(grow=1.5, grow_max=MIB, reclaim=MIB, freeze=True, signal=15, command=["true"]),
        EVENT,
        Group(),
        refuse,
    )
    gone = "the cgroup was removed; hint: too late"
    assert lines[:4] == [
        f"cannot raise the limit: {gone}",
        f"cannot reclaim: {gone}",
        f"cannot freeze: {gone}",
        "cannot send the signal: operation not permitted",
    ]
    assert lines[4].startswith("started true")
    actor.finish()


# ---- webhooks ------------------------------------------------------------------------------


class Server:
    """Answers each POST with the next of the statuses, the last again and again."""

    def __init__(self, *statuses):
        self.requests = requests = []
        left = list(statuses)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                requests.append((self.path, self.headers["Content-Type"], body))
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(workers, "BACK_OFF", 0.01)
    monkeypatch.setattr(workers, "TRY_TIMEOUT", 0.2)


def test_an_event_is_posted_as_json(actor):
    with Server(204) as server:
        assert perform(actor, webhook=f"{server.url}/a?b=c") == [f"posting to {server.url}/a?b=c"]
        assert actor.finish() == [] and not actor.busy
    [(path, kind, body)] = server.requests
    assert (path, kind) == ("/a?b=c", "application/json")
    assert json.loads(body) == EVENT.as_dict()


@pytest.mark.parametrize(
    ("statuses", "requests", "lines"),
    [
        ((500, 503, 200), 3, []),
        ((429, 200), 2, []),
        ((500,), 3, ["status 500"]),
        ((404,), 1, ["status 404"]),
        ((302,), 1, ["status 302"]),
    ],
)
def test_what_can_pass_is_tried_again(actor, impatient, statuses, requests, lines):
    with Server(*statuses) as server:
        perform(actor, webhook=server.url)
        assert actor.finish() == [f"failed: post to {server.url}: {line}" for line in lines]
        assert len(server.requests) == requests


def test_nobody_there(actor, impatient):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
    perform(actor, webhook=url)
    [line] = actor.finish()
    assert line.startswith(f"failed: post to {url}: ") and "refused" in line


def test_one_who_never_answers_holds_nobody_up(actor, impatient):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        perform(actor, webhook=url)
        assert actor.turn() == [] and actor.busy
        [line] = actor.finish()
        assert line == f"failed: post to {url}: timed out"


def test_garbage_for_an_answer(actor, impatient):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            for _ in range(workers.TRIES):
                connection, _ = server.accept()
                connection.recv(65536)
                connection.sendall(b"garbage\r\n\r\n")
                connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        perform(actor, webhook=url)
        [line] = actor.finish()
        thread.join()
        assert line == f"failed: post to {url}: garbage"


def test_what_waits_is_bounded(actor):
    go_on = threading.Event()
    worker = actor._worker("webhook")
    for _ in range(workers.QUEUE):
        assert worker.submit(go_on.wait)
    url = "http://127.0.0.1:1/"
    [line] = perform(actor, webhook=url)
    assert line == f"not posted to {url}: too much waits to be posted already"
    go_on.set()


def test_a_worker_that_is_closed_writes_to_nobody():
    wake = os.eventfd(0, os.EFD_NONBLOCK)
    go_on, done = threading.Event(), []
    worker = Worker(wake)
    worker.submit(lambda: go_on.wait() and "first")
    worker.submit(lambda: done.append("second"))
    until(lambda: worker._jobs.qsize() == 1)
    worker.close()
    go_on.set()
    until(lambda: not any(t.name == "climits-worker" for t in threading.enumerate()))
    with pytest.raises(BlockingIOError):
        os.eventfd_read(wake)
    assert done == []
    os.close(wake)


def test_none_of_it_is_loaded_before_it_is_used():
    # The loop of a supervisor without alarms must not pay for http.
    import subprocess

    code = "import climits.supervise.alarms, sys; print('http.client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_finish_gives_up_after_its_time(actor):
    perform(actor, command=["sleep", "1000"])
    assert actor.finish(0.1) == [] and actor.busy
