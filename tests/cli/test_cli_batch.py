"""`climits batch` as a command: what it reads, what it tells, what it exits with."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from support import PATIENCE, until

from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError


@pytest.fixture
def batch(capfd, tmp_path, monkeypatch):
    """batch(WORDS) runs it here, in a folder of its own: (exit status, output, lines told)."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        capfd.readouterr()
        status = dispatch(["batch", *map(str, words)])
        sys.stdout.flush()
        out, err = capfd.readouterr()
        return status, out, err.splitlines()

    return run


def told(lines):
    """What was told of each job, without figures: {name: verdict}."""
    found = {}
    for line in lines:
        if line.startswith("climits: ["):
            name, verdict = line.partition("] ")[2].split(": ")[:2]
            found[name] = verdict
    return found


def records(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


# ---- what there is to run --------------------------------------------------------------------


def test_commands_of_a_file(batch, tmp_path):
    (tmp_path / "jobs.txt").write_text("echo one\n# no\n\nexit 3\n")
    status, out, lines = batch("jobs.txt", "--memory", "30M")
    assert (status, out) == (1, "one\n")
    assert told(lines) == {"1 (echo one)": "exited 0", "2 (exit 3)": "exited 3"}
    assert ": 1 succeeded, 1 exited non-zero" in lines[-2]
    assert (
        lines[-1]
        == "climits: results: jobs.txt.results.jsonl; --resume runs what has not succeeded"
    )
    assert {r["name"]: r["ok"] for r in records("jobs.txt.results.jsonl")} == {
        "1": True,
        "2": False,
    }


def test_commands_of_standard_input(batch, monkeypatch, tmp_path):
    (tmp_path / "in").write_text("echo $((1 + 1))\n")
    with open(tmp_path / "in") as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert batch("-", "--memory", "30M")[:2] == (0, "2\n")
    assert os.listdir(tmp_path) == ["in"]  # no results where nobody asked for them


def test_commands_of_standard_input_with_values_of_a_file(batch, monkeypatch, tmp_path):
    (tmp_path / "in").write_text("echo {}\necho {#}{.}\n")
    (tmp_path / "values").write_text("a.x\nb c\n")
    with open(tmp_path / "in") as file:
        monkeypatch.setattr(sys, "stdin", file)
        status, out, _ = batch("-", "--arg-file", "values", "--keep-order", "--memory", "30M")
    assert (status, out) == (0, "a.x\n2a\nb c\n4b c\n")


@pytest.mark.parametrize("source", [("--arg-file", "values"), ("::::", "values"),
                                    (":::", "a b", "$(id)", "'")])  # fmt: skip
def test_values_are_put_into_a_command_for_the_shell(batch, tmp_path, source):
    (tmp_path / "values").write_text("a b\n$(id)\n'\n")
    status, out, lines = batch("--keep-order", "--memory", "30M", 'echo "<{}>" {#}', *source)
    assert (status, out) == (0, "<a b> 1\n<$(id)> 2\n<'> 3\n")
    assert told(lines).keys() == {"a b", "$(id)", "'"}


def test_values_that_end_in_nul_are_put_into_words(batch, tmp_path):
    (tmp_path / "values").write_bytes(b"a\nb\0c")
    words = ("--keep-order", "--memory", "30M", "--arg-file", "values", "--null", "--")
    status, out, _ = batch(*words, "echo", "<{}>")
    assert (status, out) == (0, "<a\nb>\n<c>\n")


def test_names_of_files_may_have_any_bytes(batch, tmp_path):
    (tmp_path / "values").write_bytes(b"\xff.txt\n")
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("content\n")
    status, out, _ = batch("cat {}", "--arg-file", "values", "--results", "r", "--memory", "30M")
    assert (status, out) == (0, "content\n")
    assert records("r")[0]["command"] == ["/bin/sh", "-c", "cat '\udcff.txt'"]
    status, out, lines = batch(
        "cat {}", "--arg-file", "values", "--results", "r", "--resume", "--memory", "30M"
    )
    assert (status, out) == (0, "")
    assert lines[0] == "climits: 1 of 1 had succeeded before, and are left out"


def test_a_file_of_json_lines_and_its_kind_by_option(batch, tmp_path):
    (tmp_path / "jobs").write_text('{"command": ["echo", "a"]}\n{"name": "b", "command": "echo b"}')
    status, out, _ = batch("jobs", "--format", "jsonl", "--keep-order", "--memory", "30M")
    assert (status, out) == (0, "a\nb\n")


def test_options_are_defaults(batch, tmp_path):
    (tmp_path / "jobs.toml").write_text(
        '[job.a]\ncommand = "echo $A $B; pwd"\nenv = { A = "own" }\n'
        '[job.b]\ncommand = "true"\nmemory = "40M"\n'
    )
    os.mkdir("sub")
    status, out, _ = batch(
        "jobs.toml", "--memory", "30M", "--env", "A=1", "--env", "B=2", "--chdir", "sub",
        "--timeout", "60s", "--stderr", "{name}.err",
    )  # fmt: skip
    assert (status, out) == (0, f"own 2\n{tmp_path}/sub\n")
    limits = {r["name"]: r["memory_max"] >> 20 for r in records("jobs.toml.results.jsonl")}
    assert limits == {"a": 30, "b": 40}
    assert os.path.getsize("a.err") == os.path.getsize("b.err") == 0


# ---- what is refused -------------------------------------------------------------------------


def test_errors_of_a_file_are_told_together_and_nothing_is_started(batch, tmp_path):
    (tmp_path / "jobs.toml").write_text(
        '[job.a]\ncommand = "touch started"\nmemroy = "30M"\n'
        '[job.b]\ncommand = "touch started"\nmemory = "900T"\ndepends_on = ["b"]\n'
    )
    status, out, lines = batch("jobs.toml")
    assert (status, out) == (125, "")
    assert lines[0] == "climits: jobs.toml:3: job.a.memroy: unknown; hint: did you mean memory?"
    assert lines[1].startswith("climits: jobs.toml:6: job.b.memory: 900.0T: does not fit into the ")
    assert lines[2] == "climits: jobs.toml:7: job.b.depends_on: b -> b: a circle"
    assert os.listdir(tmp_path) == ["jobs.toml"]


def test_of_very_many_errors_the_first_are_told(batch, tmp_path):
    (tmp_path / "jobs.jsonl").write_text('{"comand": 1}\n' * 100)
    status, _, lines = batch("jobs.jsonl")
    assert (status, len(lines)) == (125, 51)
    assert lines[-1] == "climits: and 150 more problems"


@pytest.mark.parametrize(
    ("words", "text", "hint"),
    [
        ([], "no jobs were given", "name the file"),
        (["a", "b"], "one file of jobs is wanted: b", "values for a command stand behind :::"),
        (["no.toml"], "cannot read no.toml: no such file or directory", None),
        (["jobs.yaml"], "jobs.yaml: what it holds cannot be told by its name", "give --format"),
        (["gzip {}"], "a command without values: gzip {}", "give -a FILE, or ::: VALUES"),
        (["empty.txt"], "empty.txt: no commands", "write one on each line"),
        (["jobs.txt", "--format", "yaml"], "format: yaml: unknown", "write toml, jsonl or lines"),
        (["jobs.txt", "--null"], "null goes with values", "give -a FILE too"),
        (["x", ":::"], "values: there are none", None),
        (["x", "--arg-file", "empty.txt"], "empty.txt: there are none", None),
        (["x", "::::", "a", "b"], "one file of values is wanted behind ::::", None),
        (["x", "--arg-file", "a", ":::", "b"], "values are given twice", "give one of"),
        (["x", ":::", "b", ":::", "c"], "values are given twice", "give one of"),
        ([":::", "b"], "no command was given", "climits batch 'gzip {}' ::: a.txt b.txt"),
        (["-", "--arg-file", "-"], "commands and values cannot both come from standard", "put one"),
        (["x", ":::", "b", "--format", "toml"], "format is of a file of jobs", None),
        (["jobs.txt", "--jobs", "0"], "jobs: 0: must be 1 at least", None),
        (["jobs.txt", "--memory", "60MB"], "memory: 60MB: MB can mean", "write 60M or 60MiB"),
        (["jobs.txt", "--memory", "900T"], "memory: 900.0T: does not fit into the memory budget",
         "lower it, or raise --memory-budget"),
        (["jobs.txt", "--cpus", "9999"], "cpus: 9999: there are ", "write "),
        (["jobs.txt", "--memory-budget", "0"], "memory-budget: 0: leaves no room", None),
        (["jobs.txt", "--retry-memory", "1"], "retry-memory: 1.0: must be more than", "write 1.5"),
        (["jobs.txt", "--retry-memory-max", "1G"], "retry-memory-max has no meaning alone",
         "give --retry-memory 2 too"),
        (["jobs.txt", "--env", "A"], "env: A: not of the form K=V", None),
        (["jobs.txt", "--chdir", "/no/where"], "chdir: /no/where: no such directory", None),
        (["jobs.txt", "--stdout", "/no/x"], "stdout: /no: no such directory", None),
        (["jobs.txt", "--results", "/no/x"], "results: /no/x: no such file or directory", "name"),
        (["jobs.txt", "--resume", "--results", "jobs.txt"], "results: jobs.txt: not a file of "
         "results", "name another file"),
        (["x", ":::", "b", "--resume"], "resume needs a file of results", "give --results FILE"),
        (["jobs.txt", "--resume", "--results", "-"], "resume needs a file of results", "give "),
    ],
)  # fmt: skip
def test_bad_words_are_refused(batch, tmp_path, words, text, hint):
    (tmp_path / "jobs.txt").write_text("touch started\n")
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(ClimitsError) as caught:
        batch(*words)
    assert str(caught.value).startswith(text)
    assert (caught.value.hint or "").startswith(hint or "") and bool(caught.value.hint) == bool(
        hint
    )
    assert sorted(os.listdir(tmp_path)) == ["empty.txt", "jobs.txt"]


def test_check_runs_nothing(batch, tmp_path):
    (tmp_path / "jobs.txt").write_text("touch started\n")
    status, out, lines = batch("jobs.txt", "--check", "--memory-budget", "100M")
    assert (status, lines) == (0, [])
    assert out.startswith("good: 1 job; between them 100.0M of memory, 100.0M for each that names ")
    assert os.listdir(tmp_path) == ["jobs.txt"]


# ---- what it exits with ----------------------------------------------------------------------


def test_the_status_is_how_many_failed_and_the_last_line_why(batch, hog, tmp_path):
    (tmp_path / "jobs.toml").write_text(f"""
        [defaults]
        memory = "30M"
        [job.good]
        command = "true"
        [job.bad]
        command = "exit 137"
        [job.big]
        command = ["{hog}", "alloc", "60"]
        [job.slow]
        command = ["sleep", "1000"]
        timeout = "50ms"
        [job.shot]
        command = "kill -9 $$"
        [job.missing]
        command = ["/no/such"]
        [job.never]
        command = "touch started"
        depends_on = ["good", "bad"]
        [job.neither]
        command = "touch started"
        depends_on = ["never"]
    """)
    status, _, lines = batch("jobs.toml")
    assert status == 7 and not os.path.exists("started")
    assert lines[-2].partition(": ")[2].partition(": ")[2] == (
        "1 succeeded, 1 exited non-zero, 1 OOM-killed, 1 timed out, 1 killed by a signal, "
        "1 did not start, 2 not run"
    )
    found = {r["name"]: r for r in records("jobs.toml.results.jsonl")}
    assert {name: r["verdict"] for name, r in found.items()} == {
        "good": "exited", "bad": "exited", "big": "oom-killed", "slow": "timed-out",
        "shot": "signaled", "missing": "failed-to-start", "never": "not-run", "neither": "not-run",
    }  # fmt: skip
    assert found["never"]["error"] == found["neither"]["error"] == "bad, which it needs, failed"
    assert found["missing"]["error"].startswith("cannot start /no/such: command not found (")
    assert found["big"]["oom_kill"] >= 1 and found["big"]["evidence"]["events"]["oom_kill"] >= 1


def test_more_than_100_are_101(batch):
    assert batch("--memory", "30M", "--", "/bin/false", "{}", ":::", *range(103))[0] == 101


def test_fail_fast_ends_the_batch(batch):
    words = ("--fail-fast", "--jobs", "2", "--memory", "30M", "--results", "r")
    status, _, lines = batch(*words, "eval {}", ":::", "sleep 1000", "exit 3", "touch started")
    assert status == 1 and not os.path.exists("started")
    assert {r["name"]: r["verdict"] for r in records("r")} == {
        "sleep 1000": "stopped", "exit 3": "exited",
    }  # fmt: skip
    assert ": 0 succeeded, 1 exited non-zero, 1 stopped, 1 not run" in lines[-2]


# ---- what it shows ---------------------------------------------------------------------------


def test_outputs_are_not_mixed(batch):
    command = "for i in 1 2 3 4 5 6 7 8 9; do echo {}; done; echo end {} >&2"
    status, out, lines = batch(command, "--jobs", "4", "--memory", "30M", ":::", *"abcdefgh")
    assert status == 0
    assert sorted(out[n : n + 18] for n in range(0, len(out), 18)) == [
        f"{x}\n" * 9 for x in "abcdefgh"
    ]
    assert sorted(line for line in lines if line.startswith("end")) == [
        f"end {x}" for x in "abcdefgh"
    ]


def test_order_is_kept(batch, tmp_path):
    command = "[ {} != 1 ] || while [ ! -e last ]; do sleep 0.01; done; "
    command += "[ {} != 3 ] || touch last; echo {}"
    words = ("--keep-order", "--jobs", "3", "--memory", "30M", ":::", 1, 2, 3)
    assert batch(command, *words)[:2] == (0, "1\n2\n3\n")


def test_quiet_tells_failures_only(batch):
    assert batch("true {}", "--quiet", "--memory", "30M", ":::", "a") == (0, "", [])
    status, _, lines = batch("{}", "--quiet", "--memory", "30M", ":::", "true", "false")
    assert status == 1 and told(lines) == {"false": "exited 1"}
    assert ": 1 succeeded, 1 exited non-zero" in lines[-1] and len(lines) == 2


def test_results_may_go_to_standard_output_and_then_nothing_else_does(batch):
    status, out, lines = batch("echo {}", "--results", "-", "--memory", "30M", ":::", "shown")
    assert status == 0 and "shown" in lines
    (record,) = map(json.loads, out.splitlines())
    assert record["ok"] and record["schema"] == 1 and record["name"] == "shown"


def test_retries_are_told(batch, hog):
    words = ("--memory", "20M", "--retry-memory", "2", "--results", "r", ":::", hog)
    status, _, lines = batch("{} alloc 30", *words)
    assert status == 0
    assert lines[0].startswith(f"climits: {hog}: oom-killed: ")
    assert lines[0].endswith("; again with 40.0M")
    assert lines[1].endswith(", attempt 2")
    (record,) = records("r")
    assert (record["ok"], record["attempts"], record["memory_max"] >> 20) == (True, 2, 40)


# ---- resume ----------------------------------------------------------------------------------


def test_resume_runs_what_has_not_succeeded(batch, tmp_path):
    jobs = tmp_path / "jobs.txt"
    jobs.write_text("echo a >> log\necho b >> log; test -e ready\necho c >> log\n")
    assert batch("jobs.txt", "--memory", "30M")[0] == 1
    jobs.write_text("# new\necho d >> log\n" + jobs.read_text())  # those that were there are known
    (tmp_path / "ready").touch()
    status, _, lines = batch("jobs.txt", "--memory", "40M", "--resume")
    assert status == 0
    assert lines[0] == "climits: 2 of 4 had succeeded before, and are left out"
    assert ": 2 succeeded, 2 succeeded before" in lines[-1]
    assert sorted((tmp_path / "log").read_text().split()) == ["a", "b", "b", "c", "d"]
    assert batch("jobs.txt", "--resume")[0] == 0
    assert sorted((tmp_path / "log").read_text().split()) == ["a", "b", "b", "c", "d"]


def test_what_uses_what_is_made_again_is_made_again(batch, tmp_path):
    text = (
        '[job.a]\ncommand = "echo a >> log"\n[job.b]\ncommand = "echo b >> log"\ndepends_on=["a"]\n'
    )
    (tmp_path / "jobs.toml").write_text(text)
    assert batch("jobs.toml", "--memory", "30M")[0] == 0
    (tmp_path / "jobs.toml").write_text(text.replace("echo a", "echo A"))
    assert batch("jobs.toml", "--memory", "30M", "--resume")[0] == 0
    assert (tmp_path / "log").read_text().split() == ["a", "b", "A", "b"]


def test_without_resume_all_is_run_again_and_the_old_results_are_kept(batch, tmp_path):
    (tmp_path / "jobs.txt").write_text("echo a >> log\n")
    for _ in range(2):
        assert batch("jobs.txt", "--memory", "30M")[0] == 0
    assert (tmp_path / "log").read_text().split() == ["a", "a"]
    assert len(records("jobs.txt.results.jsonl")) == len(records("jobs.txt.results.jsonl.old")) == 1


def test_results_that_cannot_be_written_end_the_batch(batch):
    words = ("--jobs", "1", "--memory", "30M", "--results", "/dev/full", ":::", "a", "b")
    status, _, lines = batch("true {}", *words)
    assert status == 125
    assert lines[0] == "climits: cannot write the results: /dev/full: no space left on device"
    assert ": 1 succeeded, 1 not run" in lines[-1]


# ---- signals ---------------------------------------------------------------------------------

STUBBORN = "trap 'echo asked >> log' TERM; touch started.$$; while :; do sleep 0.01; done"


def start(climits, folder, *words, **options):
    return subprocess.Popen(
        [climits, "batch", "--memory", "30M", *words], cwd=folder, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_batch_in_peace(climits, tmp_path, number, status):
    commands = [f"touch {n}; exec sleep 1000" for n in "ab"] + ["touch never"]
    process = start(climits, tmp_path, "--jobs", "2", "--results", "r", "eval {}", ":::", *commands)
    try:
        until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists())
        process.send_signal(number)
        _, err = process.communicate(timeout=60 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == status and not (tmp_path / "never").exists()
    assert [r["verdict"] for r in records(tmp_path / "r")] == ["stopped"] * 2
    assert ": 0 succeeded, 2 stopped, 1 not run" in err
    assert "--resume runs what has not succeeded" in err


def test_a_second_signal_ends_it_at_once(climits, tmp_path):
    process = start(
        climits, tmp_path, "--kill-after", "1h", "--results", "r", "eval {}", ":::", STUBBORN
    )
    try:
        until(lambda: list(tmp_path.glob("started.*")))
        process.send_signal(signal.SIGINT)
        until(lambda: (tmp_path / "log").exists())
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 130
    (record,) = records(tmp_path / "r")
    assert (record["verdict"], record["signal"]) == ("stopped", 9)
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_job_that_does_not_end_is_killed(climits, tmp_path):
    process = start(climits, tmp_path, "--kill-after", "50ms", "eval {}", ":::", STUBBORN)
    try:
        until(lambda: list(tmp_path.glob("started.*")))
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60 * PATIENCE)
    finally:
        process.kill()
    assert process.returncode == 143


def test_what_was_ignored_stays_ignored(climits, tmp_path):
    words = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", climits, "batch", "--memory", "30M",
             "touch {}; while [ ! -e go ]; do sleep 0.01; done", ":::", "started"]  # fmt: skip
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "started").exists)
        process.send_signal(signal.SIGINT)
        (tmp_path / "go").touch()
        assert process.wait(60 * PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


def test_a_reader_that_goes_ends_the_batch(climits, tmp_path):
    process = start(
        climits, tmp_path, "--jobs", "1", "yes {} | head -c 1000000", ":::", "a", "b", "c",
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout.readline() == "a\n"
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60 * PATIENCE) == 125
    process.stderr.close()
    assert err.startswith("climits: cannot show what jobs write: broken pipe\n")


# ---- history ---------------------------------------------------------------------------------


def test_each_attempt_is_in_the_history(batch, capfd, monkeypatch, tmp_path, hog):
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "jobs.toml").write_text(
        f'[job.grows]\ncommand = ["{hog}", "alloc", "30"]\nretry_memory = 2\n'
    )
    assert batch("jobs.toml", "--memory", "20M")[0] == 0
    assert batch("true {}", "--memory", "20M", "--no-history", ":::", "a")[0] == 0
    assert dispatch(["history", "--json"]) == 0
    sys.stdout.flush()
    kept = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    kept = sorted((entry["source"], entry["name"], entry["verdict"]) for entry in kept)
    assert kept == [("batch", "grows", "exited"), ("batch", "grows", "oom-killed")]


def test_a_history_that_cannot_be_kept_is_told_once(batch, monkeypatch, tmp_path):
    (tmp_path / "state").write_text("no directory")
    monkeypatch.setenv("CLIMITS_STATE_DIR", str(tmp_path / "state"))
    status, _, lines = batch("true {}", "--memory", "20M", ":::", "a", "b", "c")
    assert status == 0
    assert sum("not in the history" in line for line in lines) == 1


# ---- on a terminal ---------------------------------------------------------------------------


def on_terminal(climits, folder, *words, environment=None):
    """All that a terminal shows of a batch, and its exit status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [climits, "batch", "--memory", "30M", *words], cwd=folder, stdin=theirs, stdout=theirs,
        stderr=theirs, env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | (environment or {}),
    )  # fmt: skip
    os.close(theirs)
    shown = bytearray()
    try:
        while True:
            shown += os.read(ours, 65536)
    except OSError:  # EIO: nobody has it open any more
        pass
    os.close(ours)
    return shown.decode(), process.wait(60 * PATIENCE)


def test_a_bar_shows_how_it_goes_on(climits, tmp_path):
    pytest.importorskip("rich")
    shown, status = on_terminal(
        climits, tmp_path, "--keep-order", "sleep 0.5; echo out{}; [ {} = a ]", ":::", "a", "b"
    )
    assert status == 1
    assert "0/2" in shown and "running" in shown and "\x1b[2K" in shown
    assert "out" in shown and "] b: exited 1: " in shown and "] a: exited" not in shown
    assert shown.rindex("2 jobs in ") > shown.rindex("\x1b[2K")


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"PYTHONPATH": "hidden"}])
def test_without_a_bar_there_are_lines(climits, tmp_path, environment):
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "rich.py").write_text("raise ImportError")
    shown, status = on_terminal(climits, tmp_path, "echo {}", ":::", "a", environment=environment)
    assert status == 0
    assert shown.startswith("a\r\nclimits: [1/1] a: exited 0: ") and "\x1b" not in shown


# ---- help ------------------------------------------------------------------------------------


def test_the_short_spellings(batch, tmp_path):
    (tmp_path / "values").write_bytes(b"a\0b\0")
    words = ("-j", "1", "-k", "-0", "-a", "values", "--memory", "30M", "--", "echo", "{}")
    assert batch(*words)[:2] == (0, "a\nb\n")


def test_an_unknown_option_is_told(batch):
    with pytest.raises(InvalidValueError, match="unknown option --retires"):
        batch("--retires", "3")
