"""The JSON Schemas of the reference, held against what climits really writes."""

import ast
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE

jsonschema = pytest.importorskip("jsonschema", reason="needs jsonschema")
pytestmark = pytest.mark.skipif(IN_VM, reason="the formats are the same everywhere")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/reference/schemas"
SCHEMAS = {p.name.partition(".")[0]: json.loads(p.read_text()) for p in FOLDER.glob("*.json")}

sys.path.insert(0, str(ROOT / "tools"))
import json_schemas  # noqa: E402


def strict(schema):
    """The same, but for names that it does not have."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "required" in schema else {}
    return {key: strict(value) for key, value in schema.items()} | closed


def check(name, told):
    jsonschema.Draft202012Validator(strict(SCHEMAS[name])).validate(told)


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line]


@pytest.fixture
def run(climits, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(tmp_path / "state"))

    def begin(*argv, status=0):
        done = subprocess.run(
            [climits, *map(str, argv)], cwd=tmp_path, capture_output=True, text=True,
            timeout=60 * PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout

    return begin


@pytest.mark.parametrize("name", sorted(json_schemas.schemas()))
def test_each_is_a_schema_and_current(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert json_schemas.schemas()[name] == SCHEMAS[name]


def test_every_field_says_what_it_means():
    for name, schema in SCHEMAS.items():
        for part in (schema, *schema.get("$defs", {}).values()):
            for field, told in part["properties"].items():
                assert len(told["description"]) > 3, (name, field)


def test_what_is_no_result_is_refused():
    good = {"schema": 1, "command": ["true"], "verdict": "exited", "exit_status": 0}
    check("result", good)
    for bad in (
        good | {"schema": 2}, good | {"command": "true"}, good | {"verdict": "died"},
        good | {"memory_peak": "5M"}, good | {"memory_max": "5M"}, good | {"other": 1},
        good | {"evidence": {"usage": {}}}, {k: v for k, v in good.items() if k != "verdict"},
    ):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            check("result", bad)
    jsonschema.validate(good | {"other": 1}, SCHEMAS["result"])  # readers pass over new names


@pytest.mark.parametrize(
    "argv, status, verdict",
    [
        (("--memory", "60M", "--", "true"), 0, "exited"),
        (("--memory", "60M", "--timeout", "0.2s", "--", "sleep", "100"), 124, "timed-out"),
        (("--", "sh", "-c", "kill -KILL $$"), 137, "signaled"),
        (("--enforce", "poll", "--memory", "60M", "--", "true"), 0, "exited"),
        (("--", "/nowhere/to/be/found"), 127, "failed-to-start"),
    ],
    ids=["exited", "timed-out", "signaled", "polled", "failed-to-start"],
)
def test_results(run, tmp_path, argv, status, verdict):
    run("run", "--json", "result.json", *argv, status=status)
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["verdict"] == verdict
    check("result", told)


def test_the_result_of_an_oom_kill(run, tmp_path, hog):
    run("run", "--json", "result.json", "--memory", "20M", "--", hog, "alloc", "60", status=137)
    told = json.loads((tmp_path / "result.json").read_text())
    assert told["verdict"] == "oom-killed"
    check("result", told)


def test_lines_of_a_batch(run, tmp_path):
    (tmp_path / "jobs.toml").write_text(
        '[defaults]\nmemory = "20M"\n[job.good]\ncommand = "true"\n'
        '[job.bad]\ncommand = ["false"]\n[job.after]\ncommand = "true"\ndepends_on = ["bad"]\n'
    )
    run("batch", "jobs.toml", "--results", "results.jsonl", status=2)
    told = lines((tmp_path / "results.jsonl").read_text())
    assert {one["name"]: one["verdict"] for one in told} == {
        "good": "exited", "bad": "exited", "after": "not-run",
    }  # fmt: skip
    for one in told:
        check("job", one)


def test_lines_of_the_history_and_a_suggestion(run):
    for _ in range(3):
        run("run", "--memory", "60M", "--", "true")
    told = lines(run("history", "--json"))
    assert len(told) == 3
    for one in told:
        check("history", one)
    suggested = json.loads(run("suggest", "--json", "--", "true"))
    names = SCHEMAS["suggestion"]["properties"]
    check("suggestion", {name: value for name, value in suggested.items() if name in names})


def test_events_of_a_cgroup(climits):
    argv = [climits, "run", "--memory", "60M", "--name", "climitsschema", "--", "sleep", "100"]
    with subprocess.Popen(argv, stderr=subprocess.DEVNULL) as program:
        try:
            watched = None
            deadline = time.monotonic() + 30 * PATIENCE
            while watched is None or watched.returncode == 125:
                assert time.monotonic() < deadline
                watched = subprocess.run(
                    [climits, "watch", "climitsschema", "--threshold", "1K", "--json", "--once"],
                    capture_output=True, text=True, timeout=60 * PATIENCE, check=False,
                )  # fmt: skip
        finally:
            program.terminate()
    told = lines(watched.stdout)
    assert [one["kind"] for one in told] == ["threshold"]
    check("event", told[0])


def test_events_of_a_supervisor(climits, tmp_path, hog):
    (tmp_path / "climits.toml").write_text(
        f'[program.leak]\ncommand = ["{hog}", "alloc", "60"]\nmemory = "20M"\nrestart = "never"\n'
        '[program.web]\ncommand = "sleep 0.5"\nmemory = "30M"\nrestart = "never"\n'
        '[[program.web.alarm]]\nsource = "threshold"\nlevel = "1K"\n'
        '[program.none]\ncommand = ["/nowhere/to/be/found"]\n'
        '[program.bad]\ncommand = "false"\nrestart = "on-failure"\nmax_restarts = "1/1m"\n'
    )
    argv = [climits, "supervise", "-c", "climits.toml", "--log-format", "json",
            "--socket", str(tmp_path / "control")]  # fmt: skip
    wanted = {"started", "oom-killed", "exited", "failed-to-start", "alarm", "restarting",
              "gave-up"}  # fmt: skip
    told = []
    with subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as supervisor:
        timer = threading.Timer(60 * PATIENCE, supervisor.terminate)
        timer.start()
        for line in supervisor.stderr:
            told.append(json.loads(line))
            if wanted <= {one["event"] for one in told}:
                supervisor.terminate()
        timer.cancel()
    assert wanted <= {one["event"] for one in told}
    for one in told:
        check("supervisor-event", one)


def test_every_event_that_the_code_tells_is_in_the_table():
    seen = set()
    for path in (*ROOT.glob("src/climits/supervise/*.py"), ROOT / "src/climits/cli/supervise.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr == "tell"
                and call.args
            ):
                names = [n.value for n in ast.walk(call.args[0]) if isinstance(n, ast.Constant)]
                fields = {key.arg for key in call.keywords if key.arg} - {"at"}  # is `time`
                for name in names:
                    seen.add(name)
                    known = {"program", *json_schemas.EVENTS[name].split()}
                    assert fields <= known, (path.name, name)
    from_a_verdict = {name for name, of in json_schemas.EVENTS.items() if "returncode" in of}
    assert set(json_schemas.EVENTS) - seen - from_a_verdict == {"metrics", "status-page"}


def test_the_guide_has_the_same_events():
    page = (ROOT / "docs/supervise.md").read_text().partition("## Events")[2]
    for name in set(json_schemas.EVENTS) - {"memory-exceeded", "timed-out", "no-history"}:
        assert f"`{name}`" in page, name
