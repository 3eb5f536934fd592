"""What is written to a bus, held against a library for all of D-Bus."""

import os
import socket
import threading
import time
from contextlib import suppress

import jeepney
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jeepney import low_level
from jeepney.bus_messages import message_bus

from climits.linux.dbus import Bus, DBusError, address_path, marshal

PROPERTIES = [
    ("PIDs", ("au", [4711, 1])),
    ("Description", ("s", "climits: ./app é")),
    ("Delegate", ("b", True)),
    ("MemoryMax", ("t", 2**64 - 1)),
    ("ExecStart", ("a(sasb)", [("/bin/sleep", ["sleep", "infinity"], False)])),
]


def library(signature, values):
    """The same by the library."""
    parsed = low_level.parse_signature(list(f"({signature})"))
    return parsed.serialise(values, 0, low_level.Endianness.little)


@pytest.mark.parametrize(
    ("signature", "values"),
    [
        ("", ()),
        ("s", ("web.scope",)),
        ("yu", (1, 2)),
        ("ybnqiuxtd", (255, True, -1, 65535, -7, 7, -(2**40), 2**63, 0.5)),
        ("as", ([],)),
        ("a(sv)", ([],)),
        ("yat", (1, [])),
        ("yat", (1, [2**40])),
        ("ssa(sv)a(sa(sv))", ("climits-web.scope", "fail", PROPERTIES, [])),
        ("oga{s(iay)}", ("/a/b", "a{sv}", [("k", (1, [1, 2, 3])), ("", (0, []))])),
    ],
)
def test_bytes_are_those_of_the_library(signature, values):
    if "{" in signature:
        theirs = library(signature, (*values[:2], dict(values[2])))
    else:
        theirs = library(signature, values)
    assert marshal(signature, values) == theirs


@given(st.lists(st.tuples(st.text().filter(lambda s: "\0" not in s), st.integers(0, 2**32 - 1))))
def test_any_properties(properties):
    values = ([(name, ("u", number)) for name, number in properties],)
    assert marshal("a(sv)", values) == library("a(sv)", values)


# ---- a bus that is the library's -----------------------------------------------------------


class Server:
    """Answers one client: what it is told to, by method."""

    def __init__(self, path, answers, *, greeting=b"OK 1234\r\n", pieces=7):
        self.path, self.answers, self.greeting, self.got = str(path), answers, greeting, []
        self.pieces = pieces  # bytes of all but the last
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        client, _ = self._listener.accept()
        with client, suppress(ConnectionError):  # it may know enough, and go
            self._talk(client)

    def _talk(self, client):
        data = b""
        while b"BEGIN\r\n" not in data:
            data += client.recv(4096)
        hello, _, rest = data.partition(b"BEGIN\r\n")
        self.got.append(hello)
        if self.greeting is None:
            return  # and hang up
        client.sendall(self.greeting)
        parser = low_level.Parser()
        parser.add_data(rest)
        serial = 0
        while True:
            message = parser.get_next_message()
            if message is None:
                if not (data := client.recv(4096)):
                    return
                parser.add_data(data)
                continue
            self.got.append(message)
            member = message.header.fields[low_level.HeaderFields.member]
            for answer in self.answers.get(member, [_returns("", ())]):
                serial += 1
                reply = answer(message) if callable(answer) else answer
                # In pieces: a message may come in any number of them.
                data = reply if isinstance(reply, bytes) else reply.serialise(serial)
                for at in range(0, min(len(data), 3 * self.pieces), self.pieces):
                    client.sendall(data[at : at + self.pieces])
                    time.sleep(0.005)  # that they are not put together on the way
                client.sendall(data[3 * self.pieces :])

    def close(self):
        self._listener.close()


def _returns(signature, values):
    return lambda message: jeepney.new_method_return(message, signature or None, values)


def _fails(name, text):
    return lambda message: jeepney.new_error(message, name, "s", (text,))


SIGNAL = jeepney.new_signal(
    jeepney.DBusAddress("/org/freedesktop/systemd1", interface="a.b.Manager"),
    "JobRemoved",
    "uoss",
    (7, "/job/7", "web.scope", "done"),
)


@pytest.fixture
def serve(tmp_path):
    servers = []

    def start(answers=None, **options):
        servers.append(Server(tmp_path / "bus", answers or {}, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_a_call_and_its_answer(serve):
    server = serve({"Get": [_returns("v", (("s", "/a.slice/web.scope"),))]})
    bus = Bus(server.path, 10)
    answer = bus.call("a.b", "/a", "a.b.Properties", "Get", "ss", "x", "y")
    bus.close()
    assert answer == ["/a.slice/web.scope"]
    hello, first, call = server.got
    uid = str(os.geteuid()).encode().hex().encode()
    assert hello == b"\0AUTH EXTERNAL " + uid + b"\r\n"
    assert first.header.fields[low_level.HeaderFields.member] == "Hello"
    assert first.serialise() == message_bus.Hello().serialise(serial=1)
    assert call.body == ("x", "y")
    assert call.header.fields[low_level.HeaderFields.destination] == "a.b"
    assert call.header.fields[low_level.HeaderFields.path] == "/a"


def test_each_call_has_a_number_of_its_own(serve):
    server = serve({"Get": [_returns("s", ("one",))], "Two": [_returns("s", ("two",))]})
    bus = Bus(server.path, 10)
    assert bus.call("a.b", "/a", "a.b.C", "Get") == ["one"]
    assert bus.call("a.b", "/a", "a.b.C", "Two") == ["two"]
    bus.close()
    messages = server.got[1:]
    assert [message.header.serial for message in messages] == [1, 2, 3]
    assert messages[1].header.fields[low_level.HeaderFields.interface] == "a.b.C"


@pytest.mark.parametrize("pieces", [1, 15, 16, 17])
def test_an_answer_may_come_in_pieces(serve, pieces):
    server = serve({"Get": [_returns("s", ("x" * 100_000,))]}, pieces=pieces)
    bus = Bus(server.path, 10)
    assert bus.call("a.b", "/a", "a.b", "Get") == ["x" * 100_000]
    bus.close()


def test_an_answer_may_have_the_other_order_of_bytes(serve):
    def answer(message):
        reply = jeepney.new_method_return(message, "uas", (7, ["a", "b"]))
        reply.header.endianness = low_level.Endianness.big
        data = reply.serialise(9)
        assert data[:1] == b"B"
        return data

    server = serve({"Get": [answer]})
    bus = Bus(server.path, 10)
    assert bus.call("a.b", "/a", "a.b", "Get") == [7, ["a", "b"]]
    bus.close()


def test_an_error_is_raised_with_its_name(serve):
    server = serve({"Start": [_fails("org.freedesktop.systemd1.UnitExists", "there already")]})
    bus = Bus(server.path, 10)
    with pytest.raises(DBusError, match="there already") as caught:
        bus.call("a.b", "/a", "a.b", "Start")
    bus.close()
    assert caught.value.name == "org.freedesktop.systemd1.UnitExists"


@pytest.mark.parametrize(("signature", "body"), [(None, ()), ("u", (5,))])
def test_an_error_may_have_no_text(serve, signature, body):
    server = serve({"Start": [lambda m: jeepney.new_error(m, "a.b.Bad", signature, body)]})
    bus = Bus(server.path, 10)
    with pytest.raises(DBusError) as caught:
        bus.call("a.b", "/a", "a.b", "Start")
    bus.close()
    assert (caught.value.name, str(caught.value)) == ("a.b.Bad", "a.b.Bad")


def test_a_signal_that_comes_before_the_answer_is_not_lost(serve):
    server = serve({"Start": [SIGNAL, _returns("o", ("/job/7",))]})
    bus = Bus(server.path, 10)
    assert bus.call("a.b", "/a", "a.b", "Start") == ["/job/7"]
    assert bus.signal("JobRemoved") == [7, "/job/7", "web.scope", "done"]
    bus.close()


def test_a_signal_that_was_asked_for(serve):
    other = jeepney.new_signal(
        jeepney.DBusAddress("/x", interface="a.b.Manager"), "UnitNew", "s", ("web.scope",)
    )
    server = serve({"AddMatch": [other, _returns("", ()), _returns("", ()), other, SIGNAL]})
    bus = Bus(server.path, 10)
    bus.listen("type='signal',member='JobRemoved'")
    assert bus.signal("JobRemoved") == [7, "/job/7", "web.scope", "done"]
    bus.close()
    asked = message_bus.AddMatch("type='signal',member='JobRemoved'")
    assert server.got[2].serialise() == asked.serialise(serial=2)


def test_a_refusal_to_know_us(serve):
    server = serve(greeting=b"REJECTED EXTERNAL\r\n")
    with pytest.raises(PermissionError) as caught:
        Bus(server.path, 10)
    assert str(caught.value) == "[Errno 1] the bus does not know us"


def test_the_other_side_hangs_up(serve):
    server = serve(greeting=None)
    with pytest.raises(ConnectionError) as caught:
        Bus(server.path, 10)
    assert str(caught.value) == "[Errno 104] the other side hung up"


@pytest.mark.parametrize("garbage", [b"nonsense" * 9, b"l\2\0\1" + b"\xff" * 40, b"\0" * 64])
def test_what_is_not_dbus_is_told(serve, garbage):
    server = serve({"Start": [garbage]})
    bus = Bus(server.path, 10)
    with pytest.raises(ConnectionError) as caught:
        bus.call("a.b", "/a", "a.b", "Start")
    bus.close()
    assert str(caught.value) == "[Errno 71] what came in is not D-Bus"


def test_nobody_answers_in_time(serve):
    server = serve({"Start": []})
    bus = Bus(server.path, 1)
    with pytest.raises(TimeoutError):
        bus.call("a.b", "/a", "a.b", "Start")
    got = list(server.got)
    with pytest.raises(TimeoutError) as caught:
        bus.call("a.b", "/a", "a.b", "Start")
    bus.close()
    assert server.got == got  # the second was not sent
    assert str(caught.value) == "[Errno 110] no answer in time"


def test_nobody_listens(tmp_path):
    with pytest.raises(FileNotFoundError):
        Bus(str(tmp_path / "bus"), 10)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("unix:path=/run/user/1000/bus", "/run/user/1000/bus"),
        ("unix:path=/run/user/1000/bus,guid=12ab", "/run/user/1000/bus"),
        ("tcp:host=localhost,port=1;unix:path=/b%20c", "/b c"),
        ("unix:abstract=/tmp/dbus-x", b"\0/tmp/dbus-x"),
        ("unix:path=/a:b=c", "/a:b=c"),
        ("unix:path=/a%ff", "/a\udcff"),
        ("unix:path=/100%", "/100%"),
        ("tcp:host=localhost", None),
        ("", None),
    ],
)
def test_addresses(address, path):
    assert address_path(address) == path
