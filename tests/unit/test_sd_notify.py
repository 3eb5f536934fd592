import os
import socket

import pytest

from climits.supervise.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """A service manager: (address as the environment has it, its socket)."""
    address = f"{tmp_path}/notify" if request.param == "path" else f"@climits-test-{os.getpid()}"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.bind(address.replace("@", "\0"))
    server.settimeout(10)
    yield address, server
    server.close()


def sockets():
    """Our descriptors that are sockets."""
    found = set()
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{fd}").startswith("socket:"):
                found.add(int(fd))
        except FileNotFoundError:  # of the directory that is listed
            pass
    return found


def heard(server):
    return server.recv(4096).decode()


def test_each_message(manager):
    address, server = manager
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": address})
    notifier.ready()
    assert heard(server) == "READY=1"
    notifier.status("2 programs run")
    assert heard(server) == "STATUS=2 programs run"
    notifier.stopping()
    assert heard(server) == "STOPPING=1"
    notifier.watchdog()
    assert heard(server) == "WATCHDOG=1"
    notifier.reloading()
    first, second = heard(server).split("\n")
    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert value.isdigit() and int(value) > 0
    notifier.close()


def test_a_status_cannot_smuggle_in_another_message(manager):
    address, server = manager
    notifier = Notifier(address)
    notifier.status("all is well\nSTOPPING=1\r\nMAINPID=1")
    assert heard(server).splitlines() == ["STATUS=all is well STOPPING=1 MAINPID=1"]
    notifier.status("name \udcff")
    assert heard(server) == "STATUS=name ?"
    notifier.close()


def test_the_programs_do_not_inherit_it():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1", "A": "b"}
    Notifier.from_environ(environ)
    assert environ == {"A": "b"}


def test_neither_do_they_inherit_the_socket(manager):
    before = sockets()
    notifier = Notifier(manager[0])
    (ours,) = sockets() - before
    assert not os.get_inheritable(ours)
    notifier.close()
    notifier.close()
    assert sockets() == before


@pytest.mark.parametrize(
    ("watchdog", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "me"}, None),
        ({"WATCHDOG_USEC": "1"}, 0.5e-6),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "\u0663"}, None),
        ({"WATCHDOG_USEC": "9" * 5000}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({}, None),
    ],
)
def test_the_interval_is_half_of_what_the_manager_waits_for(manager, watchdog, interval):
    notifier = Notifier.from_environ({"NOTIFY_SOCKET": manager[0], **watchdog})
    assert notifier.interval == interval
    notifier.close()


def say_everything(notifier):
    notifier.ready()
    notifier.reloading()
    notifier.status("x")
    notifier.watchdog()
    notifier.stopping()
    notifier.close()
    notifier.ready()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "/nowhere/notify",
        "@climits-test-nobody",
        "relative",
        "vsock:2:1234",
        "@",
        "/" + "x" * 500,
    ],
)
def test_where_nobody_listens_nothing_happens(address):
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"}
    notifier = Notifier.from_environ(environ)
    say_everything(notifier)
    assert environ == {}


def test_without_a_manager_there_is_no_interval_and_no_descriptor():
    before = sockets()
    notifier = Notifier.from_environ({"WATCHDOG_USEC": "2000000"})
    assert notifier.interval is None
    assert sockets() == before


def test_a_manager_that_is_too_busy_does_not_hold_us_up(manager, monkeypatch):
    address, server = manager
    monkeypatch.setattr("climits.supervise.notify._PATIENCE", 0.01)
    notifier = Notifier(address)
    for number in range(5000):  # far more than its queue holds
        notifier.status(f"{number}")
    say_everything(notifier)
    assert heard(server) == "STATUS=0"
    server.setblocking(False)
    count = 1
    with pytest.raises(BlockingIOError):
        while True:
            heard(server)
            count += 1
    assert count < 5000


def test_a_manager_that_started_anew_hears_us(tmp_path):
    path = f"{tmp_path}/notify"
    notifier = Notifier(path)
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(path)
            server.settimeout(10)
            notifier.ready()
            assert heard(server) == "READY=1"
        os.unlink(path)
    notifier.close()
