"""Metrics without a kernel: names, labels, text, files, the server, and what lies in contrib/."""

import gzip
import json
import os
import re
import socket
import stat
import threading
import urllib.error
import urllib.request
from itertools import combinations, count, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import PATIENCE, until

from climits.errors import ClimitsError, InvalidValueError, UnsupportedError
from climits.supervise.address import address_of, listen, parse_address
from climits.units import UNLIMITED

client = pytest.importorskip("prometheus_client", reason="needs prometheus-client")

from prometheus_client.openmetrics.parser import (  # noqa: E402
    text_string_to_metric_families as read_open,
)
from prometheus_client.parser import text_string_to_metric_families as read_plain  # noqa: E402

from climits.observe.discover import owner_of  # noqa: E402
from climits.observe.metrics import ask as asking  # noqa: E402
from climits.observe.metrics import collect as metrics  # noqa: E402
from climits.observe.metrics import server as metrics_server  # noqa: E402
from climits.observe.metrics.families import (  # noqa: E402
    KINDS,
    OF_CGROUPS,
    OF_PROGRAMS,
    STATES,
    VERDICTS,
    Labels,
    Maker,
    cgroup_labels,
    clean,
)
from climits.observe.metrics.server import Server  # noqa: E402
from climits.observe.metrics.text import (  # noqa: E402
    OPEN,
    PLAIN,
    choose_format,
    write,
    write_file,
)

CONTRIB = Path(__file__).parents[2] / "contrib"
ID = "0123456789abcdef" * 4
POD = "12345678-90ab-cdef-1234-567890abcdef"
POD_SLICE = f"/kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice"


@pytest.fixture(scope="module")
def maker():
    return Maker()


def sample(path="/a", **figures):
    """What a sampler gives; figures that are not said are not reported."""
    known = dict.fromkeys([*OF_CGROUPS, *KINDS])
    return SimpleNamespace(path=path, **{**known, **figures})


def facts(program="web", **more):
    return {"program": program, "status": "running", "restarts": 0, "oom_kills": 0, **more}


def values(families):
    """{(name of a sample, its labels that say something, sorted): value}."""
    return {
        (s.name, tuple(sorted((k, v) for k, v in s.labels.items() if v))): s.value
        for family in families
        for s in family.samples
    }


def told_of(samples, programs=None, skipped=0, most=10, chosen=None):
    chosen = chosen or metrics._Chosen(Maker(), most)
    return values(chosen.families({s.path: s for s in samples}, programs or {}, skipped))


# ---- names and values ----------------------------------------------------------------------


def test_names_are_as_prometheus_advises():
    for name, kind, unit, text in [*OF_CGROUPS.values(), *OF_PROGRAMS.values()]:
        assert re.fullmatch(r"climits(_[a-z]+)+", name)
        assert kind in ("gauge", "counter")
        assert not name.endswith("_total")  # the text has it of counters
        assert unit in ("", "bytes", "seconds")
        assert name.endswith(f"_{unit}") if unit else not re.search("_(bytes|seconds)$", name)
        assert text[0].isupper() and text.endswith(".")


def test_figures_become_samples(maker):
    labels = Labels({"cgroup": "/a"})
    found = values(maker.of_cgroups([(labels, sample(
        current=7, peak=9, anon=3, file=2, shmem=0, kernel=1, swap=0, max=10, high=8, swap_max=5,
        limit_hits=4, oom_kill=0, pressure_some=1.5, pressure_full=0.25, cpu=12.5, pids=3,
    ))]))  # fmt: skip
    of = (("cgroup", "/a"),)
    assert found == {
        ("climits_memory_usage_bytes", of): 7,
        ("climits_memory_peak_bytes", of): 9,
        ("climits_memory_kind_bytes", (*of, ("kind", "anon"))): 3,
        ("climits_memory_kind_bytes", (*of, ("kind", "file"))): 2,
        ("climits_memory_kind_bytes", (*of, ("kind", "shmem"))): 0,
        ("climits_memory_kind_bytes", (*of, ("kind", "kernel"))): 1,
        ("climits_swap_usage_bytes", of): 0,
        ("climits_memory_limit_bytes", of): 10,
        ("climits_memory_high_bytes", of): 8,
        ("climits_swap_limit_bytes", of): 5,
        ("climits_memory_limit_hits_total", of): 4,
        ("climits_memory_oom_kills_total", of): 0,
        ("climits_pressure_memory_waiting_seconds_total", of): 1.5,
        ("climits_pressure_memory_stalled_seconds_total", of): 0.25,
        ("climits_cpu_usage_seconds_total", of): 12.5,
        ("climits_tasks", of): 3,
    }


def test_what_is_not_reported_is_left_out_and_so_is_no_limit(maker):
    rows = [(Labels({"cgroup": "/a"}), sample(current=5, max=UNLIMITED, swap_max=UNLIMITED))]
    assert values(maker.of_cgroups(rows)) == {
        ("climits_memory_usage_bytes", (("cgroup", "/a"),)): 5
    }


def test_facts_of_a_program_become_samples(maker):
    found = values(maker.of_programs([
        ("/s", facts(
            restarts=3, oom_kills=2, memory_max=60, started=1700000000.5,
            verdicts={"oom-killed": 2, "exited": 1}, status="waiting",
        )),
    ]))  # fmt: skip
    of = (("program", "web"), ("supervisor", "/s"))
    assert found.pop(("climits_program_restarts_total", of)) == 3
    assert found.pop(("climits_program_oom_kills_total", of)) == 2
    assert found.pop(("climits_program_memory_limit_bytes", of)) == 60
    assert found.pop(("climits_program_start_time_seconds", of)) == 1700000000.5
    for verdict in VERDICTS:
        expected = {"oom-killed": 2, "exited": 1}.get(verdict, 0)
        assert found.pop(("climits_program_ends_total", (*of, ("verdict", verdict)))) == expected
    for state in STATES:
        key = "climits_program_state", (of[0], ("state", state), of[1])
        assert found.pop(key) == (state == "waiting")
    assert found == {}


@pytest.mark.parametrize("limit", [UNLIMITED, "max", None])
def test_a_program_without_a_limit_has_none(maker, limit):
    found = values(maker.of_programs([("", facts(memory_max=limit))]))
    assert "climits_program_memory_limit_bytes" not in {name for name, _ in found}
    assert ("climits_program_ends_total", (("program", "web"), ("verdict", "exited"))) in found


# ---- labels --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", {}),
        ("/jobs", {}),
        ("/system.slice", {"runtime": "systemd"}),
        ("/system.slice/web.service", {"runtime": "systemd", "unit": "web.service"}),
        ("/system.slice/web.service/worker", {"runtime": "systemd"}),
        (f"/docker/{ID}", {"runtime": "docker", "container": ID[:12]}),
        (f"/docker/{ID}/system.slice/web.service", {"runtime": "docker"}),
        (f"/system.slice/docker-{ID}.scope", {"runtime": "docker", "container": ID[:12]}),
        (POD_SLICE, {"runtime": "kubernetes", "pod": POD}),
        (
            f"{POD_SLICE}/cri-containerd-{ID}.scope",
            {"runtime": "kubernetes", "pod": POD, "container": ID[:12]},
        ),
        ("/lxc.payload.web", {"runtime": "lxc", "container": "web"}),
        ("/climits", {"runtime": "climits"}),
        ("/climits/web", {"runtime": "climits", "program": "web"}),
        ("/climits/web/sub", {"runtime": "climits"}),
    ],
)
def test_whose_it_is_stands_at_its_own_cgroup_only(path, expected):
    labels = metrics._labels_of(path, None)
    assert set(labels) == {"cgroup", "runtime", "unit", "container", "pod", "program"}
    assert {name: value for name, value in labels.items() if value} == {"cgroup": path} | expected


def test_a_supervisor_knows_its_program_by_the_name_of_the_configuration():
    labels = metrics._labels_of("/climits/simple_app-1-1", "web")
    assert labels["program"] == "web"
    assert metrics._labels_of("/custom/x", "web")["program"] == "web"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/system.slice/a.service", "/system.slice/a.service"),
        ("/dev-disk-by\\x2duuid.swap", "/dev-disk-by\\x2duuid.swap"),
        ("/ä b", "/ä b"),
        ("/\udcff", r"/\xff"),
        ("/a\nb\x1b[1m", r"/a\nb\x1b[1m"),
        ("/a\\\n", r"/a\\\n"),
        ("/\u202e", r"/\u202e"),
        ("/\\\ud800\udcff", r"/\\\ud800\udcff"),
    ],
)
def test_a_label_is_what_can_be_shown(name, expected):
    assert clean(name) == expected


@given(st.text() | st.binary().map(os.fsdecode))
@example("x" * 9000)
@example("\\" * 600 + "\n")
def test_a_label_is_utf_8_and_has_an_end(name):
    label = clean(name)
    assert label.isprintable() and len(label) <= 512
    assert label.encode().decode() == label


def test_cgroups_that_look_the_same_are_told_of_once():
    long = "/" + "x" * 2000
    found = told_of([sample(f"{long}{n}{long}", current=1) for n in range(3)])
    usage = [key for key in found if key[0] == "climits_memory_usage_bytes"]
    assert len(usage) == 1
    assert found["climits_cgroups_left_out", (("reason", "over-the-limit"),)] == 2


def test_the_largest_are_told_of_and_programs_in_any_case():
    samples = [sample(f"/{n}", current=n) for n in range(20)] + [sample("/web")]
    found = told_of(samples, {"/web": "web", "/3": "other"}, most=4, skipped=2)
    usage = {dict(key[1])["cgroup"] for key in found if key[0] == "climits_memory_usage_bytes"}
    assert usage == {"/19", "/18", "/3"}  # and /web, which has no figure
    assert found["climits_cgroups", ()] == 23
    assert found["climits_cgroups_left_out", (("reason", "over-the-limit"),)] == 17
    assert found["climits_cgroups_left_out", (("reason", "unreadable"),)] == 2


def test_labels_are_made_once_and_forgotten_with_the_cgroup(monkeypatch):
    asked = []
    monkeypatch.setattr(metrics, "owner_of", lambda path: asked.append(path) or owner_of(path))
    chosen = metrics._Chosen(Maker(), 10)
    for _ in range(3):
        told_of([sample("/a/b", current=1)], chosen=chosen)
    assert asked == ["/a", "/a/b"]
    told_of([], chosen=chosen)
    assert chosen._labels == {}


# ---- text ----------------------------------------------------------------------------------


def parsed(read, text):
    """What a parser of prometheus-client makes of it: {name: (type, unit, help, samples)}."""
    return {
        f.name: (f.type, f.unit, f.documentation, [(s.name, s.labels, s.value) for s in f.samples])
        for f in read(text)
    }


class _Collector:
    def __init__(self, families):
        self.families = families

    def collect(self):
        return self.families


@given(
    st.lists(st.text(max_size=20), max_size=3, unique=True),
    st.integers(0, 2**53) | st.floats(min_value=0, allow_infinity=False),
)
@example(['\\"\n', "ä"], 5)
def test_the_text_says_what_the_writer_of_prometheus_client_says(names, value):
    made = Maker()
    rows = [
        (
            Labels({"cgroup": clean(name), "odd": name.encode("utf-8", "replace").decode()}),
            sample(current=value, cpu=value, anon=value, pressure_some=value),
        )
        for name in names
    ]
    programs = [("", facts(program=name, restarts=1)) for name in names]
    families = [*made.of_cgroups(rows), *made.of_programs(programs)]
    registry = client.CollectorRegistry()
    registry.register(_Collector(families))
    from prometheus_client.openmetrics.exposition import generate_latest as write_open

    plain, theirs = write(families).decode(), client.generate_latest(registry).decode()
    assert parsed(read_plain, plain) == parsed(read_plain, theirs)
    ours = write(families, OPEN).decode()
    assert parsed(read_open, ours) == parsed(read_open, write_open(registry).decode())
    comments = [line for line in ours.split("\n") if line.startswith("#")]
    assert comments == [
        line for line in write_open(registry).decode().split("\n") if line.startswith("#")
    ]


def test_help_is_escaped_as_each_format_has_it(maker):
    family = maker.family(("climits_x", "gauge", "", 'a\\b "c"\nd'), [(Labels({}), 1)])
    for content_type, read in ((PLAIN, read_plain), (OPEN, read_open)):
        (found,) = read(write([family], content_type).decode())
        assert found.documentation == 'a\\b "c"\nd'


def test_metrics_of_the_process_are_written_too():
    text = write(metrics.process_metrics()()).decode()
    assert "process_resident_memory_bytes" in parsed(read_plain, text)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, PLAIN),
        ("*/*", PLAIN),
        ("text/html,application/xhtml+xml", PLAIN),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", PLAIN),
        ("text/plain;version=1.0.0;escaping=values", PLAIN),
        ("application/openmetrics-text", OPEN),
        ("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", OPEN),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8", OPEN),
        ("application/openmetrics-text;version=2.0.0", OPEN),
        ("nonsense;;;,=", PLAIN),
    ],
)
def test_the_format_is_what_the_client_accepts(accept, expected):
    assert choose_format(accept) == expected


# ---- a file --------------------------------------------------------------------------------


def test_a_file_is_replaced_at_once_and_can_be_read_by_all(tmp_path):
    path = tmp_path / "climits.prom"
    old = os.umask(0o077)
    try:
        write_file(str(path), b"# HELP climits_one\n")
        with open(path, "rb") as before:
            write_file(str(path), b"two\n")
            assert before.read() == b"# HELP climits_one\n"
    finally:
        os.umask(old)
    assert path.read_bytes() == b"two\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [p.name for p in tmp_path.iterdir()] == ["climits.prom"]


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_left(tmp_path):
    (tmp_path / "directory.prom").mkdir()
    for name, cause in (
        ("directory.prom", "there is something"),
        ("missing/climits.prom", "no such file"),
    ):
        with pytest.raises(ClimitsError, match=rf"prom: {cause}") as caught:
            write_file(str(tmp_path / name), b"x")
        assert caught.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["directory.prom"]


def test_what_lies_in_the_way_is_removed_and_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / f".climits.prom.{os.getpid()}.new").symlink_to(victim)
    write_file(str(tmp_path / "climits.prom"), b"x")
    assert victim.read_text() == "precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["climits.prom", "victim"]


def test_node_exporter_does_not_see_the_new_file_before_it_is_complete(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda fd: seen.extend(os.listdir(tmp_path)))
    write_file(str(tmp_path / "climits.prom"), b"x")
    assert seen and not [name for name in seen if name.endswith(".prom")]


# ---- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("host.example:80", ("host.example", 80)),
    ],
)
def test_an_address(text, expected):
    assert parse_address(text, what="listen", port=1) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "no port"),
        ("9464", "no host"),
        (":9464", "no host"),
        ("[]:9464", "no host"),
        ("127.0.0.1", "no port"),
        ("127.0.0.1:", "no port"),
        ("127.0.0.1:http", "the port is not a number"),
        ("127.0.0.1:-1", "the port is not a number"),
        ("127.0.0.1:٣", "the port is not a number"),
        ("127.0.0.1:65536", "there are ports up to 65535 only"),
        ("127.0.0.1:" + "9" * 5000, "there are ports up to 65535 only"),
        ("::1:9464", "an IPv6 address stands in brackets"),
        ("http://127.0.0.1:9464", "not an address"),
        ("127.0.0.1:9464/metrics", "not an address"),
        ("local host:1", "not an address"),
        ("a\n:1", "not an address"),
    ],
)
def test_no_address(text, cause):
    with pytest.raises(InvalidValueError) as caught:
        parse_address(text, what="--listen", port=9464)
    assert str(caught.value).startswith("--listen: ")
    assert str(caught.value).endswith(f": {cause}")
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    assert ":9464" in caught.value.hint


def test_a_port_in_use_is_told():
    with listen("127.0.0.1", 0, what="--listen") as first:
        port = first.getsockname()[1]
        with pytest.raises(ClimitsError, match=r"address already in use$") as caught:
            listen("127.0.0.1", port, what="--listen")
    assert str(caught.value).startswith(f"--listen: cannot listen at 127.0.0.1:{port}: ")
    assert "another port" in caught.value.hint


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 70 + ".example", "192.0.2.1"])
def test_a_host_that_is_not_ours_is_told(host):
    with pytest.raises(ClimitsError, match=rf"^metrics: .*{host}") as caught:
        listen(host, 0, what="metrics")
    assert caught.value.hint


def test_an_ipv6_address_stands_in_brackets():
    try:
        listener = listen("::1", 0, what="metrics")
    except ClimitsError:
        pytest.skip("there is no IPv6 here")
    with listener:
        assert address_of(listener) == f"[::1]:{listener.getsockname()[1]}"


# ---- the server ----------------------------------------------------------------------------


@pytest.fixture
def serve():
    """serve(COLLECT) is the URL of a server."""
    servers = []

    def start(collect, host="127.0.0.1"):
        listener = listen("0.0.0.0" if host == "0.0.0.0" else "127.0.0.1", 0, what="test")
        servers.append(Server(listener, collect, host=host, what="a test"))
        return f"http://{address_of(listener)}"

    yield start
    for server in servers:
        server.close()


def get(url, method="GET", **headers):
    """(status, headers, body)."""
    request = urllib.request.Request(url, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as e:
        with e:
            return e.code, e.headers, e.read()


def one(maker):
    return [maker.family(("climits_x", "counter", "", "X."), [(Labels({"a": "b"}), 1)])]


def test_the_pages(serve, maker):
    url = serve(lambda: one(maker))
    status, headers, body = get(f"{url}/metrics")
    assert (status, headers["Content-Type"]) == (200, PLAIN)
    assert (
        body
        == b'# HELP climits_x_total X.\n# TYPE climits_x_total counter\nclimits_x_total{a="b"} 1\n'
    )
    assert int(headers["Content-Length"]) == len(body)
    status, headers, body = get(f"{url}/metrics?x=y", Accept="application/openmetrics-text")
    assert (status, headers["Content-Type"]) == (200, OPEN)
    assert body.endswith(b'climits_x_total{a="b"} 1\n# EOF\n')
    status, headers, body = get(url)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b'href="/metrics"' in body and b"a test" in body
    assert get(f"{url}/-/healthy")[::2] == (200, b"climits is healthy\n")
    assert get(f"{url}/etc/passwd")[0] == 404
    status, headers, body = get(f"{url}/metrics", method="HEAD")
    assert (status, body) == (200, b"") and int(headers["Content-Length"]) > 0
    assert get(f"{url}/metrics", method="DELETE")[0] == 501


def test_what_cannot_be_read_is_told_and_the_next_scrape_may_work(serve, maker):
    answers = [ClimitsError("no cgroup filesystem is mounted"), None]

    def collect():
        if error := answers.pop(0):
            raise error
        return one(maker)

    url = serve(collect)
    assert get(f"{url}/metrics")[::2] == (500, b"climits: no cgroup filesystem is mounted\n")
    assert get(f"{url}/metrics")[0] == 200


def test_to_this_machine_itself_nothing_is_packed(serve, maker, monkeypatch):
    many = [(Labels({"a": str(n)}), 1) for n in range(100)]
    url = serve(lambda: [maker.family(("climits_x", "gauge", "", "X."), many)])
    _, headers, body = get(f"{url}/metrics", **{"Accept-Encoding": "gzip, deflate"})
    assert headers["Content-Encoding"] is None and body.count(b"\n") == 102
    monkeypatch.setattr(metrics_server, "_is_here", lambda host: False)
    _, headers, packed = get(f"{url}/metrics", **{"Accept-Encoding": "gzip, deflate"})
    assert headers["Content-Encoding"] == "gzip" and gzip.decompress(packed) == body
    assert get(f"{url}/metrics")[2] == body


def test_many_at_once_and_one_that_says_nothing(serve, maker):
    inside, both = [], threading.Barrier(2)

    def collect():
        inside.append(both.wait(30))  # passes only when two are here
        return one(maker)

    url = serve(collect)
    with socket.create_connection(url.removeprefix("http://").split(":")):
        answers = []
        threads = [
            threading.Thread(target=lambda: answers.append(get(f"{url}/metrics")[0]))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert answers == [200] * 4 and len(inside) == 4


def test_more_connections_than_there_is_room_for_are_closed(serve, maker):
    url = serve(lambda: one(maker))
    host, port = url.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, port)) for _ in range(metrics_server._MOST + 1)]
    assert idle[-1].recv(1) == b""
    for connection in idle:
        connection.close()

    def answers():
        try:
            return get(f"{url}/metrics")[0] == 200
        except OSError:
            return False

    until(answers, "there is room again")


def test_a_client_that_goes_away_says_nothing(serve, maker, capfd):
    url = serve(lambda: one(maker))
    host, port = url.removeprefix("http://").split(":")
    for _ in range(5):
        connection = socket.create_connection((host, port))
        linger = (1).to_bytes(4, "little") + bytes(4)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)  # ends by a reset
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        connection.close()
    assert get(f"{url}/metrics")[0] == 200
    assert capfd.readouterr() == ("", "")


def test_a_server_ends_while_somebody_waits_for_an_answer(maker):
    release = threading.Event()
    listener = listen("127.0.0.1", 0, what="test")
    server = Server(
        listener, lambda: release.wait(60) and one(maker), host="127.0.0.1", what="a test"
    )
    with socket.create_connection(listener.getsockname()) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        until(lambda: threading.active_count() > 2)
        server.close()
        release.set()
    with pytest.raises(OSError):
        listener.getsockname()


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ([], 200),
        (["127.0.0.1:9464"], 200),
        (["localhost:8080"], 200),
        (["[::1]"], 200),
        (["evil.example"], 421),
        (["localhost.evil.example:9464"], 421),
        (["192.0.2.1"], 421),
        ([""], 421),
        (["127.0.0.1", "evil.example"], 421),
        (["127.0.0.1", "127.0.0.1"], 421),
    ],
)
def test_a_page_that_has_bound_its_name_to_our_address_reads_nothing(serve, maker, hosts, status):
    url = serve(lambda: one(maker))
    for path in ("/metrics", "/", "/other"):
        answer = asked_as(url, path, hosts)
        assert answer.startswith(f"HTTP/1.0 {404 if (path, status) == ('/other', 200) else status}")
        if status == 421:
            assert answer.endswith("\r\n\r\nclimits: the Host header names another host\n")


def asked_as(url, path, hosts):
    """The answer, head and all, to a request with these Host headers."""
    with socket.create_connection(url.removeprefix("http://").split(":")) as connection:
        heads = "".join(f"Host: {host}\r\n" for host in hosts)
        connection.sendall(f"GET {path} HTTP/1.1\r\n{heads}\r\n".encode())
        with connection.makefile("rb") as file:
            return file.read().decode()


def test_the_name_that_was_listened_on_is_ours(serve, maker):
    url = serve(lambda: one(maker), host="metrics.example")
    assert asked_as(url, "/metrics", ["Metrics.Example:9464"]).startswith("HTTP/1.0 200")
    assert asked_as(url, "/metrics", ["other.example"]).startswith("HTTP/1.0 421")


def test_elsewhere_than_on_loopback_every_name_will_do(serve, maker):
    url = serve(lambda: one(maker), host="0.0.0.0")
    url = url.replace("0.0.0.0", "127.0.0.1")
    assert asked_as(url, "/metrics", ["web-1.example:9464"]).startswith("HTTP/1.0 200")


def test_those_who_send_a_byte_now_and_then_do_not_keep_others_out(serve, maker, monkeypatch):
    monkeypatch.setattr(metrics_server, "_PATIENCE", 0.5 * PATIENCE)
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.5 * PATIENCE)
    url = serve(lambda: one(maker))
    host, port = url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, port)) for _ in range(metrics_server._MOST)]
    stop = threading.Event()

    def drip():
        for n in count():
            for connection in slow:
                try:
                    connection.sendall(b"GET /metrics HTTP/1.0\r\nX: "[n : n + 1] or b"x")
                except OSError:
                    pass
            if stop.wait(0.05):
                return

    def answers():
        try:
            return get(f"{url}/metrics")[0] == 200
        except OSError:
            return False

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        until(answers, "the slow ones have been let go")
    finally:
        stop.set()
        thread.join()
        for connection in slow:
            connection.close()


def test_the_answer_has_a_time_of_its_own(serve, maker, monkeypatch):
    left, send = [], metrics_server._Handler._send

    def watched(self, *args):
        left.append(self.connection.gettimeout())
        send(self, *args)

    monkeypatch.setattr(metrics_server._Handler, "_send", watched)
    assert get(f"{serve(lambda: one(maker))}/metrics")[0] == 200
    assert set(left) == {metrics_server._PATIENCE}  # not what reading the request has left


# ---- supervisors ---------------------------------------------------------------------------


@pytest.fixture
def socket_at(tmp_path):
    """socket_at(NAME, ANSWER) answers each connection so; None: never."""
    opened = []

    def make(name, answer):
        path = str(tmp_path / name)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(path)
        listener.listen(8)
        opened.append(listener)

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        return path

    yield make
    for listener in opened:
        try:
            listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        listener.close()


class _NoSampler:
    skipped = paths = ()

    def scan(self):
        return [], []

    def sample(self):
        return {}

    def close(self):
        pass


def test_supervisors_that_do_not_answer_hold_nobody_up(monkeypatch, socket_at, tmp_path):
    monkeypatch.setattr(metrics, "Sampler", _NoSampler)
    monkeypatch.setattr(asking, "PATIENCE", 0.2 * PATIENCE)
    good = json.dumps({"ok": True, "result": [facts(restarts=7)]}).encode() + b"\n"
    paths = {
        "good": socket_at("good", good),
        "silent": socket_at("silent", None),
        "odd": socket_at("odd", b"nonsense\n"),
        "refusing": socket_at("refusing", b'{"ok": false, "error": "no"}\n'),
        "gone": str(tmp_path / "gone"),
    }
    collector = metrics.MachineMetrics(
        sockets=paths.values(), default_socket=str(tmp_path / "default")
    )
    found = values(collector.collect())
    up = {path: found["climits_supervisor_up", (("supervisor", path),)] for path in paths.values()}
    assert up == {path: name == "good" for name, path in paths.items()}
    assert len([name for name, _ in found if name == "climits_supervisor_up"]) == len(paths)
    of = (("program", "web"), ("supervisor", paths["good"]))
    assert found["climits_program_restarts_total", of] == 7


@pytest.mark.parametrize(
    "result",
    [
        None,
        {"web": facts()},
        [5],
        [{}],
        [facts(program=5)],
        [facts(program=None)],
        [facts(status=["running"])],
        [facts(cgroup=[])],
        [facts(restarts="1\nup 0")],
        [facts(restarts=-1)],
        [facts(oom_kills=True)],
        [facts(memory_max=10**400)],
        [facts(memory_max="9")],
        [facts(started=float("nan"))],
        [facts(verdicts=None)],
        [facts(verdicts=["exited"])],
        [facts(verdicts={"exited": "1\nup 0"})],
        [facts(verdicts={"exited": {}})],
        [facts(), facts(program=5)],
    ],
    ids=repr,
)
def test_a_supervisor_that_says_odd_things_is_one_that_does_not_answer(
    monkeypatch, socket_at, result
):
    monkeypatch.setattr(metrics, "Sampler", _NoSampler)
    good = socket_at("good", as_answer([facts("other", restarts=7, memory_max="max")]))
    odd = socket_at("odd", as_answer(result))
    text = write(metrics.MachineMetrics(sockets=[good, odd]).collect()).decode()
    found = values(read_plain(text))
    assert found["climits_supervisor_up", (("supervisor", odd),)] == 0
    assert found["climits_supervisor_up", (("supervisor", good),)] == 1
    of = (("program", "other"), ("supervisor", good))
    assert found["climits_program_restarts_total", of] == 7
    assert not [name for name, _ in found if not name.startswith("climits_")]
    assert not [labels for _, labels in found if ("program", "web") in labels]


@pytest.mark.parametrize(
    "answer", [b"5\n", b'"ok"\n', b"{}\n", b'{"ok": 0}\n', b"[" * 100_000 + b"\n"]
)
def test_what_is_no_answer_at_all(socket_at, answer):
    path = socket_at("odd", answer)
    assert asking.ask(lambda: asking.connect(path)) is None


def test_a_supervisor_of_very_many_programs_cannot_fill_our_memory(monkeypatch, socket_at):
    monkeypatch.setattr(asking, "MOST_PROGRAMS", 2)
    few, many = (socket_at(str(n), as_answer([facts(str(i)) for i in range(n)])) for n in (2, 3))
    assert len(asking.ask(lambda: asking.connect(few))) == 2
    assert asking.ask(lambda: asking.connect(many)) is None


def as_answer(result):
    return json.dumps({"ok": True, "result": result}).encode() + b"\n"


@pytest.mark.parametrize("names", [("web", "web"), ("x" * 600, "x" * 700)])
def test_programs_that_look_the_same_are_told_of_once(maker, names):
    programs = [("/s", facts(name, restarts=n)) for n, name in enumerate(names)]
    families = maker.of_programs([*programs, ("/other", facts(names[0], restarts=5))])
    (restarts,) = [f for f in families if f.name == "climits_program_restarts"]
    assert [sample.value for sample in restarts.samples] == [0, 5]


def test_an_answer_that_comes_a_byte_at_a_time_is_not_waited_for(monkeypatch, tmp_path):
    monkeypatch.setattr(asking, "PATIENCE", 0.3 * PATIENCE)
    path, sent = str(tmp_path / "slow"), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()

        def drip():
            connection, _ = listener.accept()
            with connection:
                try:
                    for n in range(60):  # each in time
                        connection.sendall(b" ")
                        sent.append(n)
                        stop.wait(0.05 * PATIENCE)
                    connection.sendall(as_answer([facts()]))
                except OSError:
                    pass  # it was not waited for

        stop = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        answer = asking.ask(lambda: asking.connect(path))
        stop.set()
        thread.join()
    assert sent and answer is None


def test_a_supervisors_own_metrics_say_whether_it_answers(monkeypatch, socket_at):
    monkeypatch.setattr(metrics, "Sampler", _NoSampler)
    path = socket_at("good", as_answer([facts()]))
    gone, urls = [False], []

    def connect():
        if gone[0]:
            raise ClimitsError("the supervisor has ended")
        return asking.connect(path)

    page = metrics.SupervisorMetrics("127.0.0.1:0", urls.append)
    page.begin(connect)
    try:
        for is_gone in (False, True):
            gone[0] = is_gone
            found = values(read_plain(get(urls[0])[2].decode()))
            assert found["climits_supervisor_up", ()] == (not is_gone)
            names = {name for name, _ in found}
            assert ("climits_program_restarts_total" in names) is not is_gone
    finally:
        page.end()


def test_prometheus_client_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    with pytest.raises(UnsupportedError, match=r"prometheus-client, which is not installed$") as e:
        metrics.MachineMetrics()
    assert e.value.hint == "pip install 'climits[metrics]'"
    with pytest.raises(UnsupportedError):
        metrics.SupervisorMetrics("127.0.0.1:0", [].append).begin(lambda: None)


def test_a_supervisors_metrics_may_end_before_they_began():
    page = metrics.SupervisorMetrics("127.0.0.1:0", [].append)
    page.end()
    page.end()


# ---- contrib/ ------------------------------------------------------------------------------


def known_names():
    """Every metric that there is, with its labels."""
    maker = Maker()
    everything = sample(**dict.fromkeys([*OF_CGROUPS, *KINDS], 1))
    labels = cgroup_labels("/a", owner_of("/a"), owner_of("/"), None)
    families = [*maker.of_cgroups([(labels, everything)])]
    families += maker.of_programs([("", facts(memory_max=1, started=1.0))])
    families += metrics._Chosen(maker, 1).families({}, {}, 0)
    families += metrics._of_ourselves(maker, 0.1)
    families.append(maker.family(metrics._UP, [(Labels({"supervisor": "x"}), 1)]))
    return {s.name: set(s.labels) for f in families for s in f.samples}


def expressions(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key in ("expr", "definition") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for item in node:
            yield from expressions(item)


@pytest.fixture(scope="module")
def dashboard():
    return json.loads((CONTRIB / "grafana/climits.json").read_text())


def test_dashboard_and_rules_know_the_metrics_and_their_labels(dashboard):
    known = known_names()
    rules = (CONTRIB / "prometheus/climits.rules.yml").read_text()
    texts = [*expressions(dashboard), rules]
    seen = set()
    for text in texts:
        for name, matchers in re.findall(r"(?<![:\w])(climits_\w+)(?:\{([^}]*)\})?", text):
            if f"cgroup:{name}" in rules or name == "climits_memory_in_use":
                continue
            assert name in known, name
            used = set(re.findall(r"(\w+)\s*[=!]~?\"", matchers))
            assert used <= known[name] | {"instance", "job"}, (name, used)
            seen.add(name)
    not_shown = {
        "climits_memory_high_bytes", "climits_swap_limit_bytes", "climits_build_info",
        "climits_program_start_time_seconds", "climits_sample_duration_seconds",
    }  # fmt: skip
    assert known.keys() - seen <= not_shown


def test_the_dashboard_is_well_formed(dashboard):
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)) and len(ids) > 15
    places = [panel["gridPos"] for panel in panels]
    for place in places:
        assert place["x"] >= 0 and place["x"] + place["w"] <= 24 and place["h"] > 0
    for a, b in combinations(places, 2):
        apart = (
            a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
            or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        )  # fmt: skip
        assert apart, (a, b)
    assert all(a["y"] <= b["y"] for a, b in pairwise(places))
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    assert len(titles) == len(set(titles))
    for panel in panels:
        if panel["type"] == "row":
            continue
        refs = [target["refId"] for target in panel["targets"]]
        assert refs and len(refs) == len(set(refs))
        assert panel["description"]
        for target in [panel, *panel["targets"]]:
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "instance", "cgroup"]
    assert dashboard["uid"] == "climits" and dashboard["id"] is None
