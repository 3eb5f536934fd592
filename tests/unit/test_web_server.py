"""The status page's server in this process: what it does with connections that are no use."""

import http.client
import itertools
import json
import select
import socket
import threading
import time

import pytest
from support import IN_VM, PATIENCE, until

pytest.importorskip("starlette", reason="needs starlette")
pytest.importorskip("uvicorn", reason="needs uvicorn")

from climits.errors import ClimitsError
from climits.observe.web import app, serving
from climits.observe.web.server import StatusPage


class Supervisor:
    """One that has many programs and answers at once."""

    def __init__(self, programs=1):
        self.programs = [
            {"program": f"p{i}", "status": "running", "restarts": 0, "oom_kills": 0, "pid": 1}
            for i in range(programs)
        ]
        self.gone = threading.Event()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def status(self, *names):
        if self.gone.is_set():
            raise ClimitsError("the supervisor has ended")
        return self.programs

    def events(self):
        return iter(())


@pytest.fixture
def begin():
    """begin(Supervisor) -> StatusPage, ended with the test."""
    pages = []

    def do(supervisor):
        page = StatusPage("127.0.0.1:0", lambda page: None)
        pages.append(page)
        page.begin(lambda: supervisor)
        return page

    yield do
    for page in pages:
        page.end()
    assert "climits-web" not in {thread.name for thread in threading.enumerate()}


def port(page):
    return int(page.url.rpartition(":")[2].strip("/"))


def connect(page):
    return socket.create_connection(("127.0.0.1", port(page)), timeout=30)


def is_cut(connection):
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "])
def test_one_that_asks_for_nothing_is_cut(begin, monkeypatch, sent):
    monkeypatch.setattr(serving, "ASKED_IN", 0.1)
    with connect(begin(Supervisor())) as connection:
        connection.sendall(sent)
        assert is_cut(connection)


def test_one_that_watches_stays(begin, monkeypatch):
    monkeypatch.setattr(serving, "ASKED_IN", 0.1)
    supervisor = Supervisor()
    connection = http.client.HTTPConnection("127.0.0.1", port(begin(supervisor)), timeout=30)
    connection.request("GET", "/style.css")
    connection.getresponse().read()
    connection.request("GET", "/live")  # over the same connection
    answer = connection.getresponse()
    assert answer.readline() == b"event: all\n"
    for i in range(3):  # seconds, each longer than it may be silent
        supervisor.programs[0]["restarts"] = i + 1
        supervisor.programs = [dict(supervisor.programs[0])]
        until(lambda: answer.readline() == b"event: news\n")
    connection.close()


def test_one_that_does_not_read_is_cut(begin, monkeypatch):
    monkeypatch.setattr(serving, "READ_IN", 0.2)
    page = begin(Supervisor(50_000))  # more than the kernel buffers
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", port(page)))
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        server = page._server
        until(lambda: server.server_state.connections)
        until(lambda: not server.server_state.connections)
        until(lambda: not server._feed.viewers)


@pytest.mark.skipif(IN_VM, reason="a matter of HTTP, not of the kernel, and slow")
def test_one_that_reads_slowly_gets_all(begin, monkeypatch):
    monkeypatch.setattr(serving, "READ_IN", 1.0 * PATIENCE)
    monkeypatch.setattr(serving, "ASKED_IN", 0.2)
    page = begin(Supervisor(3_000))  # more than the kernel buffers
    page._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
        connection.settimeout(30 * PATIENCE)
        connection.connect(("127.0.0.1", port(page)))
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        page_as_read = b""
        for i in itertools.count():
            part = connection.recv(1 << 16)
            assert part, "cut"
            page_as_read += part
            if page_as_read.endswith(b"</html>\n"):
                break
            if i < 20:
                time.sleep(0.1 * PATIENCE)  # two seconds, each a second in which some is read


def test_the_end_waits_for_no_viewer_that_does_not_read(begin):
    page = begin(Supervisor(50_000))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port(page)))
    connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: page._server.server_state.connections)
    page.end()  # and the thread has ended: the fixture looks
    connection.close()


# ---- strangers and holders of the token ----------------------------------------------------


def ask(page, path="/live", token=None, method="GET"):
    """The connection and its answer, unread."""
    connection = http.client.HTTPConnection("127.0.0.1", port(page), timeout=30 * PATIENCE)
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    return connection, connection.getresponse()


def test_wrong_tokens_do_not_lock_the_holder_of_the_right_one_out(begin, monkeypatch):
    monkeypatch.setattr(app, "PENANCE", 1000.0)
    page = begin(Supervisor())
    wrong = [connect(page) for _ in range(app.MOST_PENITENTS + 1)]
    for connection in wrong:
        connection.sendall(
            b"POST /token HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n"
        )
    (put_off,), _, _ = select.select(wrong, [], [], 30 * PATIENCE)
    assert b" 429 " in put_off.recv(1 << 16)
    connection, answer = ask(page, "/token", page.token, "POST")
    assert (answer.status, json.loads(answer.read())) == (200, {"ok": True})
    connection.close()
    page.end()  # which waits for none of them: the fixture looks
    for connection in wrong:
        connection.close()


def test_some_seats_are_for_holders_of_the_token(begin):
    page = begin(Supervisor())
    strangers = [ask(page) for _ in range(app.MOST_VIEWERS - app.HOLDERS_SEATS)]
    assert {answer.status for _, answer in strangers} == {200}
    connection, answer = ask(page)
    assert answer.status == 503
    assert json.loads(answer.read())["error"] == "24 pages are open already"
    connection.close()
    holders = [ask(page, token=page.token) for _ in range(app.HOLDERS_SEATS)]
    assert {answer.readline() for _, answer in holders} == {b"event: all\n"}
    connection, answer = ask(page, token=page.token)
    assert json.loads(answer.read())["error"] == "32 pages are open already"
    connection.close()
    for each, _ in [*strangers, *holders]:
        each.close()


def test_connections_of_strangers_do_not_keep_a_holder_of_the_token_out(begin):
    supervisor = Supervisor()
    page = begin(supervisor)
    watching = ask(page)
    assert watching[1].readline() == b"event: all\n"
    idle = [connect(page) for _ in range(serving.MOST_CONNECTIONS)]
    connection, answer = ask(page, token=page.token)
    assert answer.readline() == b"event: all\n"
    idle += [connect(page) for _ in range(2 * serving.MOST_CONNECTIONS)]
    supervisor.programs = [dict(supervisor.programs[0], restarts=1)]
    for stream in (answer, watching[1]):  # neither was cut
        until(lambda stream=stream: stream.readline() == b"event: news\n")
    assert is_cut(idle[0])
    assert len(page._server.server_state.connections) <= serving.MOST_CONNECTIONS
    for each in (connection, watching[0], *idle):
        each.close()


def test_where_all_are_holders_one_more_is_cut(begin, monkeypatch):
    monkeypatch.setattr(serving, "MOST_CONNECTIONS", 2)
    page = begin(Supervisor())
    holders = [ask(page, token=page.token) for _ in range(2)]
    with connect(page) as more:
        assert is_cut(more)
    for connection, answer in holders:
        assert answer.readline() == b"event: all\n"
        connection.close()


def test_a_supervisor_that_is_gone_is_told(begin):
    supervisor = Supervisor()
    supervisor.gone.set()
    connection = http.client.HTTPConnection("127.0.0.1", port(begin(supervisor)), timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (503, b"climits: the supervisor has ended\n")
    connection.close()


def test_the_end_may_come_before_the_beginning_and_twice():
    page = StatusPage("127.0.0.1:0", lambda page: None)
    page.end()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        page = StatusPage(f"127.0.0.1:{taken.getsockname()[1]}", lambda page: None)
        with pytest.raises(ClimitsError, match="address already in use"):
            page.begin(Supervisor)
    page.end()
    page.end()


def test_what_is_told_when_it_listens():
    told = []
    page = StatusPage("localhost:0", told.append)
    page.begin(Supervisor)
    try:
        assert told == [page]
        assert page.url == f"http://localhost:{port(page)}/"
        assert page.url_with_token == f"{page.url}#token={page.token}"
        assert page.warning is None
    finally:
        page.end()


def test_an_address_that_others_can_connect_to_is_warned_of():
    page = StatusPage("0.0.0.0:0", lambda page: None)
    page.begin(Supervisor)
    try:
        assert page.url == f"http://{socket.gethostname()}:{port(page)}/"
        assert "reading needs the token too" in page.warning
    finally:
        page.end()
