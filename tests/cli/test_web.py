"""The status page over HTTP, of a real supervisor with real programs."""

import base64
import http.client
import json
import os
import re
import socket
import subprocess
import threading
import time

import pytest
from support import IN_VM, PATIENCE, until
from web_page import Page

pytest.importorskip("starlette", reason="needs starlette")
pytest.importorskip("uvicorn", reason="needs uvicorn")

CONFIG = """\
[defaults]
memory = "40M"
[program.web]
command = "sh -c 'sleep 1000; true' secret-argument"
[program.db]
command = "sleep 1000"
"""


#: What rests on the kernel; the others would take the VM ten minutes.
OF_THE_KERNEL = {
    "test_the_page_tells_of_the_programs_without_a_token",
    "test_changes_come_as_they_happen",
    "test_an_oom_kill_and_the_restart_are_seen",
    "test_the_end_is_told_to_those_who_watch_and_waits_for_none",
    "test_without_viewers_it_sleeps",
    "test_the_tokens_holder_acts_from_our_own_page",
    "test_the_token_stands_in_no_log_and_its_file_is_for_us_alone",
}


@pytest.fixture(autouse=True)
def _little_in_the_vm(request):
    if IN_VM and request.node.originalname not in OF_THE_KERNEL:
        pytest.skip("a matter of HTTP, not of the kernel")


@pytest.fixture
def start(climits, tmp_path):
    """start(CONFIG, ...) -> Page; ended with the test."""
    pages = []

    def begin(config=CONFIG, **options):
        file = tmp_path / "climits.toml"
        file.write_text(config)
        page = Page(climits, tmp_path, "-c", str(file), **options)
        pages.append(page)
        page.supervised.wait_for("started", config.count("[program."))
        return page

    yield begin
    for page in pages:
        page.__exit__()


def test_the_token_stands_in_no_log_and_its_file_is_for_us_alone(start):
    page = start()
    assert page.token and page.token not in page.supervised.log.read_text()
    assert page.token not in page.plain_url and page.url.startswith(f"{page.plain_url}#token=")
    assert page.token_file.stat().st_mode & 0o777 == 0o600
    assert page.supervised.end() == 0
    assert not page.token_file.exists()


# ---- reading -------------------------------------------------------------------------------


def test_the_page_tells_of_the_programs_without_a_token(start):
    page = start()
    status, headers, text = page.ask("GET", "/")
    assert status == 200
    assert 'data-name="web"' in text and 'data-name="db"' in text
    assert "2 programs: 2 running" in text
    assert "started pid" in text
    assert "secret-argument" not in text
    assert page.token not in text
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "server" not in headers


def test_all_that_the_page_needs_is_its_own(start):
    page = start()
    _, _, text = page.ask("GET", "/")
    for name in re.findall(r'(?:href|src)="([^#"][^"]*)"', text):
        status, headers, body = page.ask("GET", f"/{name}")
        assert status == 200 and body
        assert "content-security-policy" in headers
        assert "http:" not in body.replace("http://www.w3.org/2000/svg", "")
    assert page.ask("GET", "/assets/live.js")[0] == 404
    assert page.ask("GET", "/..%2fserver.py")[0] == 404
    assert page.ask("POST", "/", "")[0] == 405


def test_changes_come_as_they_happen(start, tmp_path):
    page = start()
    connection, messages = page.live()
    kind, data = next(messages)
    assert kind == "all"
    assert [row["name"] for row in data["rows"]] == ["web", "db"]
    page.supervised.ctl("set-limit", "db", "20M")
    kind, data = next(messages)
    while not data["events"]:  # usage may have changed first
        kind, data = next(messages)
    assert kind == "news"
    assert data["events"][0]["text"] == "the limit is now 20.0M"
    assert {row["name"]: row["limit"] for row in data["rows"]}["db"] == "of 20.0M"
    connection.close()


def test_an_oom_kill_and_the_restart_are_seen(start, hog):
    page = start(f"[program.leak]\ncommand = '{hog} hold 1000000'\nmemory = '30M'\n")
    connection, messages = page.live()
    _, data = next(messages)
    assert data["rows"][0]["oom_kills"] == 0
    leaky = f"[program.leak]\ncommand = '{hog} alloc 60'\nmemory = '30M'\nrestart_delay = '100s'\n"
    (page.supervised.log.parent / "climits.toml").write_text(leaky)
    page.supervised.ctl("reload")
    texts, row = [], data["rows"][0]
    while row["oom_kills"] == 0:
        _, data = next(messages)
        texts += [e["text"] for e in data["events"] if e["tone"] == "bad"]
        row = next(iter(data["rows"]), row)
    assert re.match(r"oom-killed: pid \d+ \(hog\) at 30.0M of 30.0M", texts[0])
    assert (row["state"], row["note"]) == ("waiting", "oom-killed")
    connection.close()


def test_programs_come_and_go_with_the_configuration(start):
    page = start()
    connection, messages = page.live()
    next(messages)
    (page.supervised.log.parent / "climits.toml").write_text(
        CONFIG.replace("[program.db]", "[program.new]")
    )
    page.supervised.ctl("reload")
    names = []
    while names != ["web", "new"]:
        kind, data = next(messages)
        names = [row["name"] for row in data["rows"]] if kind == "all" else names
    connection.close()
    assert 'data-name="new"' in page.ask("GET", "/")[2]


def test_the_end_is_told_to_those_who_watch_and_waits_for_none(start):
    page = start()
    connection, messages = page.live()
    next(messages)
    page.supervised.process.terminate()
    assert [kind for kind, _ in messages][-1] == "end"
    connection.close()
    assert page.supervised.process.wait(30 * PATIENCE) == 0
    with pytest.raises(ConnectionRefusedError):
        page.connect().connect()


def test_one_that_does_not_read_holds_nothing_up(start):
    page = start()
    with socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        stuck.connect(("127.0.0.1", page.port))
        stuck.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
        assert page.do("restart", program="web")["ok"]
        page.supervised.wait_for("started", 3)
        assert page.supervised.end() == 0


# ---- idle ----------------------------------------------------------------------------------


def switches(pid):
    """How often its threads have been woken up."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as file:
            total += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M)[1])
    return total


def sleeps(pid):
    before = switches(pid)
    time.sleep(1.0)
    return switches(pid) == before


def test_without_viewers_it_sleeps(start):
    page = start()
    pid = page.supervised.process.pid
    until(lambda: sleeps(pid))
    connection, messages = page.live()
    next(messages)
    assert not sleeps(pid)
    connection.close()
    until(lambda: sleeps(pid))


# ---- who may ask ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/live", "/style.css", "/do/stop", "/login"])
def test_a_name_that_was_bound_to_our_address_is_not_ours(start, path):
    page = start()
    method = "POST" if path.startswith("/do") else "GET"
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1.evil.example"):
        assert page.ask(method, path, token=page.token, Host=host)[0] == 421
    with socket.create_connection(("127.0.0.1", page.port)) as raw:
        raw.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
        assert b" 421 " in raw.makefile("rb").readline()


def test_other_sites_get_nothing_and_do_nothing(start):
    page = start()
    asked = {"program": "web"}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{page.port + 1}"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    ):
        assert page.ask("POST", "/do/stop", asked, page.token, **headers)[0] == 403
        assert page.ask("GET", "/live", **headers)[0] == 403
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate"}
    assert page.ask("GET", "/", **link)[0] == 200
    assert page.ask("POST", "/do/stop", asked, page.token, **link)[0] == 403
    assert page.supervised.events("stopping") == []
    _, headers, _ = page.ask("OPTIONS", "/do/stop", Origin="http://evil.example")
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_tokens_holder_acts_from_our_own_page(start):
    page = start()
    ours = {"Origin": f"http://127.0.0.1:{page.port}", "Sec_Fetch_Site": "same-origin"}
    assert page.ask("POST", "/token", {}, page.token, **ours)[0] == 200
    assert page.ask("POST", "/do/stop", {"program": "web"}, page.token, **ours)[0] == 200
    page.supervised.wait_for("stopped", program="web")
    assert page.do("start", program="web") == {"ok": True, "text": "web: started"}
    page.supervised.wait_for("started", 2, program="web")
    done = page.do("set-limit", program="web", memory="20M")
    assert done == {"ok": True, "text": "web: the limit is now 20.0M"}


@pytest.mark.parametrize("action", ["start", "stop", "restart", "set-limit"])
def test_nobody_acts_without_the_token(start, action):
    page = start()
    asked = {"program": "web", "memory": "1G"}
    user = base64.b64encode(f"me:{page.token}".encode()).decode()
    for headers in ({}, {"Authorization": f"Basic {user}"}, {"Authorization": page.token}):
        status, _, text = page.ask("POST", f"/do/{action}", asked, **headers)
        assert (status, json.loads(text)["error"]) == (401, "the token is needed")
    status, _, text = page.ask("POST", f"/do/{action}", asked, page.token[:-1])
    assert (status, json.loads(text)["error"]) == (401, "this is not the token")
    assert {event["event"] for event in page.supervised.events()} == {"status-page", "started"}


def test_guessing_is_slowed_down(start):
    page = start()
    found = []

    def guess():
        found.append(page.ask("POST", "/token", {}, "wrong")[0])

    threads = [threading.Thread(target=guess) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {401, 429}
    assert page.ask("POST", "/token", {}, page.token)[0] == 200


def test_where_others_can_connect_reading_needs_the_token_too(start):
    page = start(address="0.0.0.0:0")
    status, _, text = page.ask("GET", "/")
    assert status == 200 and 'data-name="web"' not in text and "Reading needs the token" in text
    assert page.ask("GET", "/live")[0] == 401
    status, headers, _ = page.ask("GET", "/login")
    assert status == 401 and headers["www-authenticate"].startswith("Basic ")
    user = base64.b64encode(f"me:{page.token}".encode()).decode()
    for path in ("/login", "/"):
        status, _, text = page.ask("GET", path, Authorization=f"Basic {user}")
        assert status == 200 and 'data-name="web"' in text
    connection, messages = page.live(Authorization=f"Bearer {page.token}")
    assert next(messages)[0] == "all"
    connection.close()
    assert page.ask("GET", "/", Host="evil.example", token=page.token)[0] == 421


# ---- bad requests --------------------------------------------------------------------------


def test_a_bad_size_is_told_in_the_words_of_the_command_line(start):
    page = start()
    for size in ("60MB", "", "lots", "-1", "9E"):
        told = page.supervised.ctl("set-limit", "--", "web", size, check=False).stderr
        answer = page.do("set-limit", program="web", memory=size)
        assert f"climits: {answer['error']}; hint: {answer['hint']}\n" == told
    error = page.do("set-limit", program="web", memory="4K")["error"]
    assert "cannot lower the limit to 4.0K" in error


def test_a_program_that_is_not_there_is_told(start):
    page = start()
    answer = page.do("stop", program="wab")
    assert (answer["error"], answer["hint"]) == ("no program 'wab'", "did you mean web?")


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        ("/do/stop", "{", {}, 400),
        ("/do/stop", "[]", {}, 400),
        ("/do/stop", "{}", {}, 400),
        ("/do/stop", '{"program": null}', {}, 400),
        ("/do/stop", '{"program": ["web"]}', {}, 400),
        ("/do/set-limit", '{"program": "web", "memory": 1}', {}, 400),
        ("/do/stop", "[" * 4000, {}, 400),
        ("/do/stop", "\xff", {}, 400),
        ("/do/stop", "x" * 5000, {}, 413),
        ("/do/stop", '{"program": "web"}', {"Content_Type": "text/plain"}, 415),
        ("/do/shutdown", "{}", {}, 404),
        ("/do/__init__", "{}", {}, 404),
    ],
)
def test_what_is_no_request_is_refused(start, path, body, headers, status):
    page = start()
    assert page.ask("POST", path, body, page.token, **headers)[0] == status
    assert page.supervised.events("stopping") == []


def test_garbage_is_answered_and_not_logged(start):
    page = start()
    for data in (b"\x16\x03\x01\n\n\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"x" * 99999):
        with socket.create_connection(("127.0.0.1", page.port)) as raw:
            raw.sendall(data)
            assert raw.makefile("rb").readline().split()[1] in (b"400", b"421")
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert page.ask("GET", "/", **upgrade)[0] == 200
    page.ask("POST", "/token", {}, "wrong-token")
    page.ask("GET", "/?token=in-the-address")
    page.supervised.end()
    log = page.supervised.log.read_text()
    assert page.token not in log
    for line in log.splitlines():
        json.loads(line)
    assert "wrong-token" not in log and "in-the-address" not in log


def test_connections_are_bounded_and_the_oldest_is_cut_for_a_new_one(start):
    page = start()
    idle = [socket.create_connection(("127.0.0.1", page.port)) for _ in range(64)]
    assert page.ask("GET", "/style.css")[0] == 200
    try:
        assert idle[0].recv(1) == b""
    except ConnectionResetError:
        pass
    for connection in idle:
        connection.close()


# ---- starting ------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--", "touch", "started"], ["-c", "climits.toml"]])
@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("TAKEN", "climits: --web: cannot listen at TAKEN: address already in use; hint: choose"),
        ("8088", "climits: --web: 8088: no host; hint: write HOST:PORT, such as 127.0.0.1:8088"),
        ("192.0.2.1:0", "climits: --web: cannot listen at 192.0.2.1:0: cannot assign requested"),
    ],
)
def test_an_address_that_cannot_be_had_is_told_and_nothing_started(
    climits, tmp_path, address, told, words
):
    (tmp_path / "climits.toml").write_text("[program.touch]\ncommand = 'touch started'\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [climits, "supervise", "--socket", tmp_path / "socket",
             "--web", address.replace("TAKEN", where), *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=60 * PATIENCE,
        )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr.startswith(told.replace("TAKEN", where))
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "started").exists()


def test_ipv6_works(start):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as e:
        pytest.skip(f"needs IPv6: {e}")
    page = start(address="[::1]:0")
    assert page.url.startswith(f"http://[::1]:{page.port}/#token=")
    connection = http.client.HTTPConnection("::1", page.port, timeout=30 * PATIENCE)
    connection.request("GET", "/")  # its Host is [::1]:PORT
    assert b'data-name="web"' in connection.getresponse().read()
    connection.close()


def test_one_program_ends_with_its_own_status(climits, tmp_path):
    file = tmp_path / "go"
    script = f"until [ -e {file} ]; do sleep 0.05; done; exit 7"
    with Page(climits, tmp_path, "--restart", "never", "--", "sh", "-c", script) as page:
        page.supervised.wait_for("started")
        assert 'data-name="sh"' in page.ask("GET", "/")[2]
        connection, messages = page.live()
        next(messages)
        file.touch()
        assert [kind for kind, _ in messages][-1] == "end"
        connection.close()
        assert page.supervised.process.wait(30 * PATIENCE) == 7


def test_without_the_libraries_it_says_what_to_install(climits, tmp_path):
    (tmp_path / "uvicorn.py").write_text("raise ImportError(\"No module named 'uvicorn'\")")
    done = subprocess.run(
        [climits, "supervise", "--web", "127.0.0.1:0", "--", "true"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == 125
    assert done.stderr == (
        "climits: the status page needs starlette and uvicorn: no module named 'uvicorn'; "
        "hint: pip install 'climits[web]'\n"
    )
