"""The metrics, the rules and the dashboard, held against a real Prometheus."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from supervised import Supervised
from support import IN_VM, PATIENCE

import climits as library
from climits.cgroup.group import Cgroup

pytest.importorskip("prometheus_client", reason="needs prometheus-client")

CONTRIB = Path(__file__).parents[2] / "contrib"
RULES = CONTRIB / "prometheus/climits.rules.yml"

needs_promtool = pytest.mark.skipif(
    not shutil.which("promtool"), reason="promtool is not installed (Debian: prometheus)"
)
needs_prometheus = pytest.mark.skipif(
    not shutil.which("prometheus") or IN_VM,
    reason="prometheus is not installed (Debian: prometheus), or the VM is too small for it",
)

CONFIG = """
    [program.leak]
    command = "HOG alloc 60"
    memory = "20M"
    restart_delay = "1s"
    restart_delay_max = "1s"
    max_oom_restarts = "3/1h"
    autostart = false
    [program.near]
    command = "HOG alloc 28 hold 600000"
    memory = "30M"
    """


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


def wait_until(ask, what):
    """What it gives once that is true; a minute, or as many as the VM needs."""
    deadline = time.monotonic() + 60 * PATIENCE
    while not (found := ask()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def promtool(*words, given=None):
    done = subprocess.run(
        ["promtool", *map(str, words)], input=given, capture_output=True, text=True,
        timeout=60 * PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


# ---- promtool ------------------------------------------------------------------------------


@needs_promtool
def test_the_rules_and_the_configuration_are_good():
    assert "13 rules found" in promtool("check", "rules", RULES)
    assert "1 rule files found" in promtool("check", "config", RULES.with_name("prometheus.yml"))


@needs_promtool
def test_the_alerts_are_raised_when_they_should_be():
    assert "SUCCESS" in promtool("test", "rules", RULES.with_name("climits.test.yml"))


def test_each_alert_says_what_to_do_and_is_tried():
    text = RULES.read_text()
    alerts = re.split(r"\n      - (?=alert|record)", text)[1:]
    alerts = [each for each in alerts if each.startswith("alert")]
    assert len(alerts) == 11
    tried = RULES.with_name("climits.test.yml").read_text()
    for each in alerts:
        name = re.match(r"alert: (Climits\w+)\n", each)[1]
        for needed in ("severity: ", "summary: ", "description: "):
            assert needed in each, name
        assert f"alertname: {name}\n" in tried


@needs_promtool
def test_what_is_written_passes_promtools_lint(ctl):
    status, text = ctl("metrics", "--textfile", "-")
    assert status == 0 and text.count("\n# TYPE climits_") >= 5
    promtool("check", "metrics", given=text + "\n")


# ---- a real one ----------------------------------------------------------------------------


class Prometheus:
    """A running Prometheus that scrapes the addresses."""

    def __init__(self, folder, targets):
        rules = re.sub(r"(?m)^( +for): .*", r"\1: 0s", RULES.read_text())
        (folder / "rules.yml").write_text(rules)
        jobs = [
            {"job_name": name, "static_configs": [{"targets": [address]}]}
            for name, address in targets.items()
        ]
        config = {
            "global": {"scrape_interval": "250ms", "evaluation_interval": "250ms"},
            "rule_files": ["rules.yml"],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # which is YAML too
        address = free_address()
        self.url = f"http://{address}"
        self.log = folder / "prometheus.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={folder}/prometheus.yml",
                    f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}{path}?{query}", timeout=30) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as e:
            with e:
                raise AssertionError(f"{parameters}: {e.read().decode()}") from None

    def query(self, expression):
        """[(labels, value)]"""
        data = self.get("/api/v1/query", query=expression)
        return [(each["metric"], float(each["value"][1])) for each in data["result"]]

    def is_ready(self):
        try:
            urllib.request.urlopen(f"{self.url}/-/ready", timeout=30).close()
        except OSError:
            assert self.process.poll() is None, self.log.read_text()
            return False
        return self.query('up{job=~"climits.*"} == 1')

    def firing(self, name):
        """Labels of the alerts of that name that fire."""
        return [
            alert["labels"] for alert in self.get("/api/v1/alerts")["alerts"]
            if alert["labels"]["alertname"] == name and alert["state"] == "firing"
        ]  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30 * PATIENCE)
        finally:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def running(climits, hog, tmp_path):
    """(a Prometheus, the supervisor whose programs it is told of, the metrics' address)."""
    config = tmp_path / "climits.toml"
    beside = free_address()
    config.write_text(f'metrics = "{beside}"\n{CONFIG}'.replace("HOG", hog))
    socket_path = tmp_path / "socket"
    machine = subprocess.Popen(
        [climits, "metrics", "--listen", "127.0.0.1:0", "--socket", str(socket_path)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        address = re.fullmatch(r"serving http://(\S+)/metrics\n", machine.stdout.readline())[1]
        targets = {"climits": address, "climits-supervise": beside}
        with Prometheus(tmp_path, targets) as prometheus:
            wait_until(prometheus.is_ready, "Prometheus scrapes")
            with Supervised(climits, tmp_path, "-c", str(config)) as supervisor:
                yield prometheus, supervisor, address
                assert supervisor.end() == 0
    finally:
        machine.send_signal(signal.SIGTERM)
        machine.communicate(timeout=30 * PATIENCE)
    assert machine.returncode == 0


def queries():
    """(title of the panel, expression with its variables filled in)."""
    dashboard = json.loads((CONTRIB / "grafana/climits.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in (
                ("$__rate_interval", "2m"), ("$__range", "5m"), ("$instance", ".*"),
                ("$cgroup", ".*near.*"),
            ):  # fmt: skip
                expression = expression.replace(name, value)
            assert "$" not in expression
            yield panel["title"], target["refId"], expression


@needs_prometheus
def test_a_real_prometheus(running, hog, controller, layout):
    controller("memory")
    prometheus, supervisor, address = running
    near = supervisor.wait_for("started", program="near")["cgroup"]
    # It must have seen the counts at 0, as it has where it runs for longer.
    zeros = 'climits_program_oom_kills_total{program="leak"} == 0'
    wait_until(lambda: len(prometheus.query(zeros)) == 2, "both tell of the program")
    supervisor.ctl("start", "leak")
    group = Cgroup.create("climits-test-oom", memory="20M")
    try:
        kills = f'climits_memory_oom_kills_total{{cgroup="{group.path}"}}'
        wait_until(lambda: prometheus.query(kills), "the cgroup is seen")
        assert prometheus.query(kills)[0][1] == 0
        assert library.run([hog, "alloc", "60"], root=group.path, check=False).oom_kill == 1

        # The alerts really fire.
        for alert, label, value in (
            ("ClimitsMemoryNearLimit", "cgroup", near),
            ("ClimitsOOMKill", "cgroup", group.path),
            ("ClimitsProgramOOMKill", "program", "leak"),
            ("ClimitsProgramFailed", "program", "leak"),
        ):
            wait_until(
                lambda a=alert, n=label, v=value: v in [f.get(n) for f in prometheus.firing(a)],
                f"{alert} fires for {value}",
            )
        _check_the_dashboard(prometheus, layout)
    finally:
        group.remove()
    for group in prometheus.get("/api/v1/rules")["groups"]:
        for rule in group["rules"]:
            assert (rule["health"], rule.get("lastError", "")) == ("ok", ""), rule["name"]
    assert not re.search(r"duplicate|out of order|level=error", prometheus.log.read_text())
    # A counter of the supervisor is the same whoever tells of it.
    ends = 'climits_program_ends_total{program="leak",verdict="oom-killed"}'
    wait_until(
        lambda: [value for _, value in prometheus.query(ends)] == [4, 4], "all runs are counted"
    )
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30 * PATIENCE) as answer:
        promtool("check", "metrics", given=answer.read().decode())


def _check_the_dashboard(prometheus, layout):
    # What a kernel or layout may not tell.
    optional = {"Limit hits"}
    if not Path("/proc/pressure/memory").exists() or layout.unified is None:
        optional.add("Pressure")
    if layout.find("pids") is None:
        optional.add("Tasks")
    if layout.unified is None and layout.find("cpuacct") is None:
        optional.add("CPU")
    for title, ref, expression in queries():
        if title in optional:
            prometheus.query(expression)
        else:
            wait_until(
                lambda e=expression: prometheus.query(e), f"data of {title} {ref}: {expression}"
            )
    page = (CONTRIB.parent / "docs/prometheus.md").read_text()
    for block in re.findall(r"(?ms)^ *```promql\n(.*?)^ *```", page):
        for line in block.splitlines():
            prometheus.query(line)
    for metric in ("climits_build_info", "climits_memory_kind_bytes"):
        assert prometheus.get("/api/v1/series", **{"match[]": metric})
