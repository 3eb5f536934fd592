"""The status page's server in this process: what it does with connections that are no use."""

import http.client
import socket
import threading

import pytest
from support import until

pytest.importorskip("starlette", reason="needs starlette")
pytest.importorskip("uvicorn", reason="needs uvicorn")

from climits.errors import ClimitsError
from climits.observe.web import serving
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


def test_the_end_waits_for_no_viewer_that_does_not_read(begin):
    page = begin(Supervisor(50_000))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port(page)))
    connection.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
    until(lambda: page._server.server_state.connections)
    page.end()  # and the thread has ended: the fixture looks
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
