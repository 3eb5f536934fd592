"""Metrics of real cgroups, and of a supervisor's programs."""

import socket
import subprocess
import threading
import urllib.request

import pytest
from supervised import Supervised
from support import PATIENCE, until

import climits as library
from climits.cgroup.group import Cgroup
from climits.errors import CgroupError

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

from prometheus_client.parser import text_string_to_metric_families as read_plain

from climits.observe.metrics import collect as metrics
from climits.observe.metrics.text import write

MIB = 1 << 20


@pytest.fixture
def machine(tmp_path):
    collector = metrics.MachineMetrics(default_socket=str(tmp_path / "none"))
    yield collector
    collector.close()


def figures(text, **labels):
    """{name, and kind, verdict or state where it has one: value} of what has these labels."""
    found = {}
    for family in read_plain(text):
        for sample in family.samples:
            if labels.items() <= sample.labels.items():
                more = [
                    sample.labels[n] for n in ("kind", "verdict", "state") if n in sample.labels
                ]
                found[" ".join([sample.name, *more])] = sample.value
    return found


def scrape(collector, **labels):
    return figures(write(collector.collect()).decode(), **labels)


def test_a_cgroup_is_told_of_as_the_kernel_has_it(machine, hog, controller):
    controller("memory")
    with library.Process(
        [hog, "alloc", "24", "say", "ready", "hold", "600000"], memory="64M",
        stdout=subprocess.PIPE, name="climits-test-metrics",
    ) as process:  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        path = process.cgroup.path
        found = scrape(machine, cgroup=path)
        assert found["climits_memory_limit_bytes"] == 64 * MIB
        assert 24 * MIB <= found["climits_memory_usage_bytes"] <= 64 * MIB
        assert found["climits_memory_kind_bytes anon"] >= 24 * MIB
        assert found["climits_memory_kind_bytes file"] < 24 * MIB
        peak = process.usage().peak
        assert found.get("climits_memory_peak_bytes", 0) <= (peak or 0)
        assert ("climits_memory_peak_bytes" in found) == (peak is not None)
        assert found["climits_memory_oom_kills_total"] == 0
        assert found.get("climits_memory_limit_hits_total", 0) == 0
        for name in ("climits_cpu_usage_seconds_total", "climits_tasks"):
            assert found.get(name, 1) > 0
        mine = scrape(machine, program="climits-test-metrics")
        assert mine["climits_memory_limit_bytes"] == 64 * MIB
        process.kill()
    assert scrape(machine, cgroup=path) == {}


def test_kills_and_hits_are_counted(machine, hog, controller):
    controller("memory")
    group = Cgroup.create("climits-test-metrics", memory="20M")
    path = group.path
    try:
        before = scrape(machine, cgroup=path)
        assert before["climits_memory_oom_kills_total"] == 0
        result = library.run([hog, "alloc", "60"], root=path, check=False)
        assert result.oom_kill == 1
        found = scrape(machine, cgroup=path)
        assert found["climits_memory_oom_kills_total"] == 1
        # Not every kernel counts them on v1: then they are left out.
        hits = group.memory.events().max
        assert found.get("climits_memory_limit_hits_total") == hits
    finally:
        group.remove()


def test_cgroups_that_come_and_go_do_not_harm_a_scrape(machine):
    stop = threading.Event()
    errors, counts = [], []

    def churn(number):
        while not stop.is_set():
            try:
                Cgroup.create(f"climits-test-churn-{number}", memory="20M").remove()
            except CgroupError as e:  # its own removal is never refused
                errors.append(e)
                return

    def read():
        try:
            for _ in range(20):
                text = write(machine.collect()).decode()
                names = figures(text, cgroup="/")
                counts.append(len(names))
        except Exception as e:
            errors.append(e)

    threads = [threading.Thread(target=churn, args=(n,)) for n in range(2)]
    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in [*threads, *readers]:
        thread.start()
    for reader in readers:
        reader.join()
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(counts) == 60 and all(counts)


# ---- beside a supervisor -------------------------------------------------------------------


@pytest.fixture
def address():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def get(address, **labels):
    url = f"http://{address}/metrics"
    with urllib.request.urlopen(url, timeout=30 * PATIENCE) as answer:
        return figures(answer.read().decode(), **labels)


@pytest.fixture
def config(tmp_path, hog):
    path = tmp_path / "climits.toml"

    def write(text):
        path.write_text(text.replace("HOG", hog))
        return str(path)

    return write


LEAK = """
    [program.leak]
    command = "HOG alloc 60"
    memory = "20M"
    restart_delay = "10ms"
    restart_delay_max = "10ms"
    max_oom_restarts = "3/1h"
    [program.steady]
    command = "HOG alloc 8 hold 600000"
    memory = "40M"
    """


def test_a_supervisor_tells_of_its_programs_and_keeps_count(
    climits, tmp_path, config, address, controller, machine
):
    controller("memory")
    text = f'metrics = "{address}"\n{LEAK}'
    with Supervised(climits, tmp_path, "-c", config(text), wait_for="gave-up") as s:
        expected = {
            "climits_program_restarts_total": 3,
            "climits_program_ends_total oom-killed": 4,
            "climits_program_ends_total exited": 0,
            "climits_program_ends_total failed-to-start": 0,
            "climits_program_state failed": 1,
            "climits_program_state running": 0,
            "climits_program_memory_limit_bytes": 20 * MIB,
        }
        found = get(address, program="leak")
        assert {name: found[name] for name in expected} == expected
        assert found["climits_program_oom_kills_total"] == 4
        assert "climits_memory_usage_bytes" not in found  # it does not run
        until(lambda: get(address, program="steady")["climits_memory_usage_bytes"] > 8 * MIB)
        steady = get(address, program="steady")
        assert steady["climits_memory_limit_bytes"] == 40 * MIB
        assert steady["climits_program_state running"] == 1
        assert steady["climits_program_start_time_seconds"] > 1e9
        # Who asks later, and by another way, sees the same counts: they are the supervisor's.
        other = metrics.MachineMetrics(sockets=[str(s.socket)])
        try:
            theirs = scrape(other, program="leak", supervisor=str(s.socket))
            assert {name: theirs[name] for name in expected} == expected
            assert scrape(other, program="steady")["climits_memory_limit_bytes"] == 40 * MIB
        finally:
            other.close()
        s.ctl("restart", "steady")
        s.wait_for("started", 6)
        until(lambda: get(address, program="steady")["climits_program_ends_total stopped"] == 1)
        until(lambda: "climits_memory_usage_bytes" in get(address, program="steady"))
        assert s.end() == 0
    with pytest.raises(OSError):
        get(address)


def test_a_program_that_cannot_start_is_counted(climits, tmp_path, config, address):
    text = '[program.none]\ncommand = "/no/such/program"\nrestart = "never"\n'
    words = "--metrics", address, "-c", config(text)
    with Supervised(climits, tmp_path, *words, wait_for="failed-to-start") as s:
        found = get(address, program="none")
        assert found["climits_program_ends_total failed-to-start"] == 1
        assert found["climits_program_state failed"] == 1
        assert s.end() == 0


def test_a_port_in_use_is_told_before_anything_is_started(climits, tmp_path, config):
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with Supervised(
            climits, tmp_path, "--metrics", address, "-c", config(LEAK), wait_for=None
        ) as s:
            assert s.process.wait(30 * PATIENCE) == 125
            (line,) = s.log.read_text().splitlines()
    assert line.startswith(f"climits: metrics: cannot listen at {address}: address already in use")
    assert s.events("started") == []
