"""`climits metrics` as a person meets it: what it serves and writes, and what it refuses."""

import os
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest
from support import PATIENCE, until

from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

from prometheus_client.parser import text_string_to_metric_families as read_plain


@pytest.fixture
def start(climits):
    """start(WORD...) is a running `climits metrics`."""
    started = []

    def run(*words):
        process = subprocess.Popen(
            [climits, "metrics", *words], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def ended(process):
    """(exit status, standard output, standard error) of one that ends by itself."""
    out, err = process.communicate(timeout=30 * PATIENCE)
    return process.returncode, out, err


def url_of(process):
    line = process.stdout.readline()
    found = re.fullmatch(r"serving (http://\S+/metrics)\n", line)
    assert found, line
    return found[1]


def get(url):
    with urllib.request.urlopen(url, timeout=30 * PATIENCE) as answer:
        return answer.read().decode()


def usage(text):
    """{path: bytes in use}"""
    return {
        sample.labels["cgroup"]: sample.value
        for family in read_plain(text)
        for sample in family.samples
        if sample.name in ("climits_memory_usage_bytes", "climits_memory_kind_bytes")
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_serves_until_it_is_asked_to_end(start, number):
    process = start("--listen", "127.0.0.1:0")
    url = url_of(process)
    text = get(url)
    assert "/" in usage(text)
    assert "process_resident_memory_bytes" in text and "climits_build_info" in text
    process.send_signal(number)
    assert ended(process) == (0, "", "")


def test_it_serves_on_ipv6(start):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("there is no IPv6 here")
    process = start("--listen", "[::1]:0")
    url = url_of(process)
    assert url.startswith("http://[::1]:")
    assert "climits_cgroups" in get(url)


def test_a_page_of_another_name_reads_nothing(start):
    url = url_of(start("--listen", "localhost:0"))
    assert "climits_cgroups" in get(url)
    strange = urllib.request.Request(url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(strange)
    with caught.value as answer:
        assert answer.code == 421
        assert answer.read() == b"climits: the Host header names another host\n"


def test_a_port_in_use_is_told_in_one_line(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        status, out, err = ended(start("--listen", address))
    assert (status, out) == (125, "")
    assert err == (
        f"climits: --listen: cannot listen at {address}: address already in use; "
        "hint: choose another port, or 0 for any that is free\n"
    )


def test_without_prometheus_client_it_says_what_to_install(start, tmp_path, monkeypatch):
    (tmp_path / "prometheus_client.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    status, out, err = ended(start())
    assert (status, out) == (125, "")
    assert err == (
        "climits: metrics need prometheus-client, which is not installed; "
        "hint: pip install 'climits[metrics]'\n"
    )


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["web"], "metrics takes no arguments: web"),
        (["--listen", "9464"], "--listen: 9464: no host"),
        (["--listen", "127.0.0.1"], "--listen: 127.0.0.1: no port"),
        (["--listen", "::1:9464"], "--listen: ::1:9464: an IPv6 address stands in brackets"),
        (["--listen", "192.0.2.1:1"], "--listen: cannot listen at 192.0.2.1:1: "),
        (["--listen", "x:1", "--textfile", "y"], "--textfile and --listen do not go together"),
        (["--interval", "5s"], "--interval is for --textfile, and longer than nothing"),
        (["--textfile", "x", "--interval", "0"], "--interval is for --textfile, and longer than"),
        (["--textfile", "x", "--interval", "soon"], "--interval: soon: not a duration"),
        (["--max-cgroups", "0"], "--max-cgroups: 0: less than one"),
        (["--textfile", "/no/such/x.prom"], "cannot write the metrics: /no/such/x.prom: no such"),
    ],
)
def test_what_is_refused(words, cause):
    with pytest.raises(ClimitsError) as caught:
        dispatch(["metrics", *words])
    assert str(caught.value).startswith(cause)
    assert caught.value.hint
    assert isinstance(caught.value, InvalidValueError) or "cannot" in cause


# ---- a file --------------------------------------------------------------------------------


def test_a_file_is_written_once(ctl, tmp_path):
    path = tmp_path / "climits.prom"
    assert ctl("metrics", "--textfile", path) == (0, "")
    text = path.read_text()
    assert "/" in usage(text)
    assert "process_resident_memory_bytes" not in text  # node_exporter has its own
    assert os.listdir(tmp_path) == ["climits.prom"]


def test_a_dash_is_standard_output(ctl):
    status, text = ctl("metrics", "--textfile", "-", "--max-cgroups", "1")
    assert status == 0
    assert len(usage(text)) == 1


def test_a_file_is_written_again_and_again(start, tmp_path):
    path = tmp_path / "climits.prom"
    process = start("--textfile", str(path), "--interval", "20ms")
    until(path.exists)
    for _ in range(2):
        before = path.stat().st_mtime_ns
        until(lambda before=before: path.stat().st_mtime_ns != before)
        assert "/" in usage(path.read_text())
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "", "")
    assert os.listdir(tmp_path) == ["climits.prom"]


def test_a_directory_that_goes_and_comes_is_told_once(start, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    path = home / "climits.prom"
    process = start("--textfile", str(path), "--interval", "20ms")
    until(path.exists)
    home.rename(tmp_path / "other")
    assert process.stderr.readline().startswith(
        f"climits: cannot write the metrics: {path}: no such"
    )
    home.mkdir()
    until(path.exists)
    process.send_signal(signal.SIGTERM)
    assert ended(process) == (0, "", "")


@pytest.mark.parametrize("kind", ["fifo", "link", "text"])
def test_a_textfile_takes_the_place_of_nothing_but_metrics(tmp_path, kind):
    path = tmp_path / "x.prom"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("precious")
    before = os.lstat(path)
    with pytest.raises(InvalidValueError, match="something that is not a file of metrics"):
        dispatch(["metrics", "--textfile", str(path)])
    after = os.lstat(path)
    assert (after.st_ino, after.st_mode, after.st_size) == (
        before.st_ino, before.st_mode, before.st_size,
    )  # fmt: skip
    assert [each.name for each in tmp_path.iterdir()] == ["x.prom"]
