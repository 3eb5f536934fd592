"""The status page: who may read and act, what it shows, and what those who watch get."""

import asyncio
import base64
import re
import socket

import pytest

from climits.errors import ClimitsError, InvalidValueError
from climits.observe.web import feed as feeds
from climits.observe.web.feed import Feed, Viewer
from climits.observe.web.guard import Guard, new_token
from climits.observe.web.page import locked, page
from climits.observe.web.view import event, row, summary

# ---- hosts and origins ---------------------------------------------------------------------


@pytest.fixture
def local():
    return Guard("127.0.0.1", "127.0.0.1", "secret")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8088", "127.0.0.1", "localhost:9000", "LOCALHOST.:1", "[::1]:8088", "[::1]"],
)
def test_our_hosts_are_known_whatever_port_a_tunnel_has(local, host):
    assert local.host_is_ours(host)


@pytest.mark.parametrize(
    "host",
    [None, "", "evil.example", "evil.example:8088", "127.0.0.1.evil.example", "127.0.0.2:8088",
     "localhost.evil.example", "127.0.0.1:8088@evil.example", "[::1", "[::1]x", "[::2]:8088",
     "0.0.0.0:8088", "127.0.0.1:80:80", "10.0.0.1"],
)  # fmt: skip
def test_other_hosts_are_not(local, host):
    assert not local.host_is_ours(host)


def test_on_every_address_each_address_will_do_but_no_name():
    guard = Guard("0.0.0.0", "0.0.0.0")
    assert guard.host_is_ours("192.0.2.7:8088")
    assert guard.host_is_ours("[2001:db8::1]:8088")
    assert guard.host_is_ours(socket.gethostname())
    assert not guard.host_is_ours("evil.example:8088")


def test_a_name_that_was_listened_on_is_ours():
    assert Guard("status.example", "192.0.2.1").host_is_ours("status.example:8088")


@pytest.mark.parametrize(
    ("host", "reads"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False), ("::", False), ("192.0.2.1", False), ("fe80::1%lo", False),
    ],
)  # fmt: skip
def test_reading_is_open_on_loopback_only(host, reads):
    assert Guard(host, host).open is reads


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"origin": "http://localhost:8088"}, True),
        ({"origin": "https://localhost:8088"}, True),
        ({"origin": "http://localhost:8088", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "null"}, False),
        ({"origin": ""}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
    ],
)
def test_origins(local, headers, ours):
    assert local.origin_is_ours({"host": "localhost:8088", **headers}) is ours


# ---- the token -----------------------------------------------------------------------------


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("Bearer secret", True), ("bearer  secret ", True),
        ("Bearer secret2", False), ("Bearer", False), ("Bearer \udcff", False),
        (None, None), ("", None), ("secret", None), (basic("me:secret"), None),
    ],
)  # fmt: skip
def test_the_token_to_act(local, given, known):
    assert local.knows_token(given) is known


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (basic("me:secret"), True), (basic(":secret"), True), ("Bearer secret", True),
        (basic("secret"), False), (basic("secret:"), False), ("Basic ?", False), ("Basic", False),
        (None, None),
    ],
)  # fmt: skip
def test_the_token_to_read(local, given, known):
    assert local.knows_token(given, basic=True) is known


def test_tokens_are_long_and_fit_into_a_url():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"[\w-]{32}", token) for token in tokens)


# ---- rows and events -----------------------------------------------------------------------

RUNNING = {
    "program": "web", "status": "running", "restarts": 2, "oom_kills": 1, "memory_max": 60 << 20,
    "pid": 7, "cgroup": "/climits/web", "started": 1000.0, "memory_current": 57 << 20,
    "memory_peak": 60 << 20,
}  # fmt: skip
ENDED = {
    "program": "job", "status": "failed", "restarts": 0, "oom_kills": 0, "memory_max": 60 << 20,
    "verdict": "exited", "returncode": 3, "memory_peak": 1 << 20,
}  # fmt: skip


def test_the_row_of_a_program_that_runs():
    shown = row(RUNNING)
    assert (shown["used"], shown["limit"], shown["percent"]) == ("57.0M", "of 60.0M", 95)
    assert (shown["state"], shown["tone"], shown["note"]) == ("running", "good", "")
    assert shown["stops"] and shown["since"] == 1000.0


def test_the_row_of_one_that_has_ended():
    shown = row(ENDED)
    assert (shown["used"], shown["limit"], shown["percent"]) == ("-", "limit 60.0M", None)
    assert (shown["tone"], shown["note"], shown["stops"]) == ("bad", "exit status 3", False)
    assert row(ENDED | {"verdict": "oom-killed"})["note"] == "oom-killed"
    assert row(ENDED | {"status": "stopped", "verdict": "stopped"})["note"] == ""


@pytest.mark.parametrize("limit", ["max", float("inf"), None, 0])
def test_where_nothing_limits_there_is_no_share(limit):
    shown = row(RUNNING | {"memory_max": limit})
    assert (shown["limit"], shown["percent"]) == ("no limit", None)


def test_a_share_above_all_is_all():
    assert row(RUNNING | {"memory_current": 90 << 20})["percent"] == 100


def test_a_program_that_waits_can_be_stopped():
    assert row(ENDED | {"status": "waiting"})["stops"]


SECRET = "http://user:password@host/"


@pytest.mark.parametrize(
    ("record", "public", "private"),
    [
        ({"event": "alarm-action", "text": f"posting to {SECRET}"},
         "alarm: an action was done; what came of it is shown with the token",
         f"alarm: posting to {SECRET}"),
        ({"event": "failed-to-start", "error": f"no {SECRET}", "hint": SECRET}, "failed to start",
         f"failed to start: no {SECRET}; hint: {SECRET}"),
        ({"event": "oom-killed", "text": "oom-killed: pid 7 (a)"}, "oom-killed: pid 7 (a)",
         "oom-killed: pid 7 (a)"),
    ],
)  # fmt: skip
def test_what_may_be_secret_is_for_holders_of_the_token(record, public, private):
    record = {"time": 1.0, "program": "web", **record}
    assert event(record, private=False)["text"] == public
    assert event(record, private=True)["text"] == private


@pytest.mark.parametrize(
    ("record", "tone"),
    [
        ({"event": "oom-killed", "text": "x"}, "bad"),
        ({"event": "exited", "text": "x", "returncode": 1}, "bad"),
        ({"event": "exited", "text": "x", "returncode": 0}, "off"),
        ({"event": "log-failed"}, "bad"),
        ({"event": "alarm", "source": "oom"}, "warn"),
    ],
)
def test_tones(record, tone):
    assert event({"time": 1.0, **record}, private=False)["tone"] == tone


def test_the_summary_counts():
    rows = [row(RUNNING), row(RUNNING), row(ENDED)]
    assert summary(rows) == "3 programs: 2 running, 1 failed; 2 OOM kills"
    assert summary([row(ENDED)]) == "1 program: 1 failed"
    assert summary([]) == "0 programs"


# ---- the page ------------------------------------------------------------------------------


def test_what_programs_are_called_never_becomes_markup():
    nasty = "<script>alert(1)</script>\"'"
    record = {"time": 1.0, "event": "oom-killed", "program": nasty, "text": nasty}
    text = page([row(RUNNING | {"program": nasty})], [event(record, private=True)])
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#x27;") == 5
    assert re.findall(r"<script[^>]*>", text) == ['<script src="live.js" defer>']


def test_the_newest_event_stands_first():
    made = [
        event({"time": t, "event": "exited", "text": f"event {t}"}, private=False) for t in (1, 2)
    ]
    text = page([], made)
    assert text.index("event 2") < text.index("event 1")


def test_nothing_stands_in_the_page_that_its_policy_forbids():
    text = page([row(RUNNING), row(ENDED)], [])
    assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|https?:", text)


def test_the_locked_page_tells_nothing_of_the_machine():
    assert socket.gethostname() not in re.sub(r"climits|<[^>]*>", "", locked())
    assert "Reading needs the token here." in locked()


# ---- the feed ------------------------------------------------------------------------------


class Supervisor:
    """One that answers as a real one does, without programs."""

    def __init__(self, **programs):
        self.programs = {
            name: dict(RUNNING, program=name) | more for name, more in programs.items()
        }
        self.records, self.asked = [], []

    def __call__(self):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def status(self, *names):
        self.asked.append(names)
        if not set(names) <= self.programs.keys():
            raise ClimitsError("no program")
        return [self.programs[name] for name in names or self.programs]

    def events(self):
        return iter(self.records)

    def stop(self, name):
        self.programs[name]["status"] = "stopping"

    def set_limit(self, name, memory):
        raise InvalidValueError(f"memory: {memory}: bad", hint="write 60M")


def happened(time, **fields):
    return {"time": time, "event": "exited", "text": f"at {time}", **fields}


@pytest.fixture
def fresh(monkeypatch):
    monkeypatch.setattr(feeds, "FRESH", 0.0)
    monkeypatch.setattr(feeds, "INTERVAL", 0.01)


async def taken(viewer, feed):
    async with asyncio.timeout(20):
        await viewer.ready.wait()
    return viewer.take(feed)


def test_a_viewer_gets_everything_and_then_what_has_changed(fresh):
    async def main():
        supervisor = Supervisor(web={}, db={})
        supervisor.records = [happened(1.0)]
        feed, viewer = Feed(supervisor), Viewer(private=False)
        feed.join(viewer)
        kind, data = await taken(viewer, feed)
        assert kind == "all"
        assert [r["name"] for r in data["rows"]] == ["web", "db"]
        assert [e["text"] for e in data["events"]] == ["at 1.0"]
        supervisor.programs["db"]["memory_current"] = 6 << 20
        supervisor.records = [happened(1.0), happened(2.0)]
        kind, data = await taken(viewer, feed)
        assert kind == "news"
        assert [(r["name"], r["percent"]) for r in data["rows"]] == [("db", 10)]
        assert [e["text"] for e in data["events"]] == ["at 2.0"]
        feed.leave(viewer)

    asyncio.run(main())


def test_programs_that_come_and_go_are_told_as_everything(fresh):
    async def main():
        supervisor = Supervisor(web={}, db={})
        feed, viewer = Feed(supervisor), Viewer(private=False)
        feed.join(viewer)
        await taken(viewer, feed)
        del supervisor.programs["web"]
        kind, data = await taken(viewer, feed)
        assert (kind, [r["name"] for r in data["rows"]]) == ("all", ["db"])
        supervisor.programs["new"] = dict(RUNNING, program="new")
        supervisor.records = [{"time": 3.0, "event": "reloaded", "added": ["new"]}]
        kind, data = await taken(viewer, feed)
        assert (kind, [r["name"] for r in data["rows"]]) == ("all", ["db", "new"])
        assert [e["text"] for e in data["events"]] == ["reloaded: 1 added"]
        feed.leave(viewer)

    asyncio.run(main())


def test_a_viewer_that_does_not_read_gets_the_newest_of_each_and_no_pile(fresh):
    async def main():
        supervisor = Supervisor(web={}, db={})
        feed, slow = Feed(supervisor), Viewer(private=False)
        feed.join(slow)
        await taken(slow, feed)
        for i in range(500):
            supervisor.programs["web"]["restarts"] = i
            supervisor.records = [*supervisor.records[-50:], happened(float(i))]
            await feed.refresh()
        _, data = slow.take(feed)
        assert [(r["name"], r["restarts"]) for r in data["rows"]] == [("web", 499)]
        assert [e["text"] for e in data["events"]] == [f"at {i}.0" for i in range(400, 500)]
        feed.leave(slow)

    asyncio.run(main())


def test_it_looks_only_while_somebody_watches(fresh):
    async def main():
        supervisor = Supervisor(web={})
        feed, viewer = Feed(supervisor), Viewer(private=False)
        await asyncio.sleep(0.05)
        assert supervisor.asked == []
        feed.join(viewer)
        await taken(viewer, feed)
        feed.leave(viewer)
        asked = len(supervisor.asked)
        await asyncio.sleep(0.2)
        assert len(supervisor.asked) <= asked + 1  # the one that was under way

    asyncio.run(main())


def test_many_pages_cost_one_look(monkeypatch):
    monkeypatch.setattr(feeds, "FRESH", 1000.0)

    async def main():
        supervisor = Supervisor(web={})
        feed = Feed(supervisor)
        await asyncio.gather(*(feed.refresh() for _ in range(50)))
        assert supervisor.asked == [()]

    asyncio.run(main())


def test_many_programs_are_asked_for_in_parts(fresh):
    async def main():
        supervisor = Supervisor(**{f"p{i}": {} for i in range(250)})
        feed = Feed(supervisor)
        await feed.refresh()
        await feed.refresh()
        assert [len(names) for names in supervisor.asked] == [0, 100, 100, 50]
        assert len(feed.rows) == 250

    asyncio.run(main())


def test_actions_tell_what_was_done_and_why_not(fresh):
    async def main():
        feed = Feed(Supervisor(web={}))
        assert await feed.perform("stop", "web", None) == "web: asked to stop"
        with pytest.raises(InvalidValueError) as caught:
            await feed.perform("set-limit", "web", "60MB")
        assert (str(caught.value), caught.value.hint) == ("memory: 60MB: bad", "write 60M")

    asyncio.run(main())


def test_programs_that_came_while_nobody_watched_are_shown_however_much_has_happened_since(fresh):
    async def main():
        supervisor = Supervisor(web={})
        supervisor.records = [happened(1.0)]
        feed = Feed(supervisor)
        await feed.refresh()
        supervisor.programs["new"] = dict(RUNNING, program="new")
        supervisor.records = [happened(float(i)) for i in range(50, 150)]  # `reloaded` was before
        await feed.refresh()
        assert list(feed.rows) == ["web", "new"]
        await feed.refresh()
        assert supervisor.asked == [(), (), ("web", "new")]

    asyncio.run(main())


def test_the_first_events_of_all_may_be_lost_too(fresh):
    async def main():
        supervisor = Supervisor(web={})
        feed = Feed(supervisor)
        await feed.refresh()
        supervisor.programs["new"] = dict(RUNNING, program="new")
        supervisor.records = [happened(float(i)) for i in range(100)]
        await feed.refresh()
        assert list(feed.rows) == ["web", "new"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "fault", [ClimitsError("gone"), OSError(24, "full"), ValueError("no JSON")]
)
def test_a_look_that_fails_is_not_the_last(fresh, fault):
    async def main():
        supervisor = Supervisor(web={})
        feed, viewer = Feed(supervisor), Viewer(private=False)
        status, faults = supervisor.status, [fault] * 3

        def flaky(*names):
            if faults:
                raise faults.pop()
            return status(*names)

        supervisor.status = flaky
        feed.join(viewer)
        kind, data = await taken(viewer, feed)
        assert (kind, len(data["rows"])) == ("all", 1)
        feed.leave(viewer)

    asyncio.run(main())


def test_looking_begins_anew_where_it_has_ended(fresh):
    async def main():
        feed, viewer = Feed(Supervisor(web={})), Viewer(private=False)
        feed.join(Viewer(private=False))
        feed._task.cancel()
        await asyncio.wait([feed._task])
        feed.join(viewer)
        kind, data = await taken(viewer, feed)
        assert (kind, len(data["rows"])) == ("all", 1)
        feed.leave(viewer)
        assert feed._task
        for left in list(feed.viewers):
            feed.leave(left)

    asyncio.run(main())
