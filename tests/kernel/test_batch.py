"""Batches on a real kernel: limits, admission, what a job may write, the face for programs."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, our_cgroups, until

import climits.batch
from climits.batch.watcher import Watcher
from climits.cgroup.find import find_cgroup
from climits.errors import ClimitsError, UnsupportedError
from climits.supervise.config import ConfigError

MIB = 1 << 20


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """climits.batch.run in a folder of its own: {name: outcome}."""
    monkeypatch.chdir(tmp_path)

    def run(*jobs, **options):
        outcomes = climits.batch.run(list(jobs), **{"memory": "30M"} | options)
        return {outcome.job.name: outcome for outcome in outcomes}

    return run


def job(name, *command, **keys):
    return {"name": name, "command": command[0] if len(command) == 1 else list(command), **keys}


def wait_for(*files):
    """Shell code that goes on when the files are there."""
    return "".join(f"while [ ! -e {file} ]; do sleep 0.01; done; " for file in files)


# ---- limits ----------------------------------------------------------------------------------


def test_each_job_has_its_limit_and_an_oom_kill_is_its_own(run, hog):
    found = run(
        job("small", hog, "alloc", "5"), job("big", hog, "alloc", "60"),
        job("fits", hog, "alloc", "60", memory="100M"),
    )  # fmt: skip
    assert [found[n].verdict for n in ("small", "big", "fits")] == [
        "exited",
        "oom-killed",
        "exited",
    ]
    big = found["big"].result
    assert (big.memory_max, big.signal) == (30 * MIB, signal.SIGKILL) and big.oom_kill >= 1
    assert found["fits"].result.memory_peak > 60 * MIB


def test_a_job_without_a_limit_has_an_equal_share(run, hog):
    found = run(
        job("a", hog, "alloc", "60"), job("b", "true", memory="20M"),
        memory=None, memory_budget="100M", at_once=2,
    )  # fmt: skip
    assert found["a"].result.memory_max == 50 * MIB and found["a"].verdict == "oom-killed"
    assert found["b"].result.memory_max == 20 * MIB


def test_after_an_oom_kill_there_is_more_memory(run, hog):
    outcome = run(job("a", hog, "alloc", "60", retry_memory=2, memory="20M"))["a"]
    assert outcome.ok and outcome.attempts == 3 and outcome.result.memory_max == 80 * MIB
    assert outcome.job.memory == 80 * MIB
    outcome = run(job("a", hog, "alloc", "60", retry_memory=2, retry_memory_max="50M"))["a"]
    assert (outcome.verdict, outcome.attempts) == ("oom-killed", 2)
    assert outcome.result.memory_max == 50 * MIB


def test_other_failures_are_tried_again_with_the_same(run):
    flaky = "echo x >> log; [ $(wc -l < log) = 3 ]"
    outcome = run(job("a", flaky, retries=5, retry_memory=2))["a"]
    assert outcome.ok and outcome.attempts == 3 and outcome.result.memory_max == 30 * MIB


@contextmanager
def look_inside(name):
    """While a job that touches `in` waits for `out`: what its cgroup says of cpu.max."""
    seen = []

    def look():
        until(Path("in").exists)
        path = next(path for path in our_cgroups() if f"/job-{name}-" in path)
        with find_cgroup(path.rpartition("/climits/")[2]) as group:
            seen.append(group.get("cpu.max"))
        Path("out").touch()

    thread = threading.Thread(target=look)
    thread.start()
    yield seen
    thread.join()


def test_cpus_are_limited_and_the_cgroup_is_called_after_the_job(run, controller):
    controller("cpu")
    with look_inside("my_job") as seen:
        outcome = run(job("my/job", "touch in; " + wait_for("out"), cpus=0.5))["my/job"]
    assert outcome.ok and seen == ["50000 100000"]


def test_a_limit_that_this_host_cannot_enforce_is_not_ignored(run, layout):
    if layout.find("cpu") is not None:
        pytest.skip("the cpu controller is here")
    with pytest.raises(UnsupportedError):
        run(job("a", "true", cpus=0.5))


# ---- how many at once ------------------------------------------------------------------------


def test_as_many_run_at_once_as_the_memory_admits(run):
    count = "touch at.$$; ls at.* | wc -l >> counts; sleep 0.05; rm at.$$"
    run(*(job(str(n), count, memory="40M") for n in range(8)), memory_budget="100M", at_once=8)
    counts = [int(line) for line in Path("counts").read_text().split()]
    assert len(counts) == 8 and max(counts) <= 2
    both = [job("a", wait_for("b") + "touch a"), job("b", "touch b;" + wait_for("a"))]
    found = run(*both, memory_budget="100M", at_once=2)  # ends only if both run
    assert found["a"].ok and found["b"].ok


def test_as_many_run_at_once_as_was_asked_for(run):
    names = [str(n) for n in range(5)]
    jobs = [job(n, f"touch at.{n}; " + wait_for(*(f"at.{m}" for m in names))) for n in names]
    found = run(*jobs, at_once=5, memory="10M")
    assert all(outcome.ok for outcome in found.values())


def test_dependencies_come_first(run):
    found = run(
        job("c", "cat a b", depends_on=["a", "b"]), job("b", "cat a > b", depends_on=["a"]),
        job("a", "echo > a"), at_once=3,
    )  # fmt: skip
    assert all(outcome.ok for outcome in found.values())


# ---- what a job is ---------------------------------------------------------------------------


def test_a_job_has_a_session_of_its_own_and_no_input(run):
    script = "import os, sys; sys.exit(os.getsid(0) != os.getpid() or sys.stdin.read() != '')"
    assert run(job("a", sys.executable, "-c", script))["a"].ok


def test_a_job_has_our_signals_and_descriptors_as_they_were(run, layout):
    script = (
        "import os, resource, signal, sys\n"
        "soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]\n"
        "print(sorted(os.listdir('/proc/self/fd'))[:3], len(os.listdir('/proc/self/fd')), soft,\n"
        "      signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    run(job("a", sys.executable, "-c", script, stdout="out"))
    import resource

    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    assert Path("out").read_text() == f"['0', '1', '2'] 4 {soft} set()\n"


def test_a_program_that_leaves_children_does_not_hold_the_batch_up(run, hog):
    outcome = run(job("a", "sleep 1000 & echo $! > pid"))["a"]
    assert outcome.ok and outcome.result.evidence.stragglers == 1


def test_a_timeout_ends_the_whole_group(run):
    script = "trap 'echo parent >> log' TERM; (trap 'echo child >> log; exit' TERM; touch in; "
    script += "while :; do sleep 0.01; done) & wait; wait"
    found = run(job("a", script), timeout=2.0 * PATIENCE)
    assert (found["a"].verdict, found["a"].result.exit_status) == ("timed-out", 124)
    assert sorted(Path("log").read_text().split()) == ["child", "parent"]


def test_what_does_not_end_is_killed(run):
    script = "trap '' TERM; touch in; while :; do sleep 0.01; done"
    outcome = run(job("a", script), timeout=0.5 * PATIENCE, kill_after=0.05)["a"]
    assert (outcome.verdict, outcome.result.signal) == ("timed-out", signal.SIGKILL)


# ---- what a job writes -----------------------------------------------------------------------


def test_output_goes_to_files(run, capfd):
    script = "echo out; echo err >&2"
    run(
        job("a", script, stdout="{name}.out", stderr="{name}.err"),
        job("b", script, stdout="b.both", stderr="stdout"), job("c", script, stderr="c.err"),
    )  # fmt: skip
    texts = {path: Path(path).read_text() for path in ("a.out", "a.err", "b.both", "c.err")}
    assert texts == {"a.out": "out\n", "a.err": "err\n", "b.both": "out\nerr\n", "c.err": "err\n"}
    assert capfd.readouterr() == ("out\n", "")


def test_only_what_the_last_attempt_writes_counts(run, capfd):
    script = "echo x >> log; wc -l < log; wc -l < log >&2; [ $(wc -l < log) = 2 ]"
    run(job("a", script, retries=3, stderr="err"))
    assert capfd.readouterr().out == "2\n" and Path("err").read_text() == "2\n"


def test_a_fifo_without_a_reader_is_told_and_waits_for_nobody(run):
    os.mkfifo("fifo")
    outcome = run(job("a", "echo x", stdout="fifo"))["a"]
    assert outcome.verdict == "failed-to-start"
    assert outcome.error == f"{os.getcwd()}/fifo: no such device or address"


@pytest.mark.skipif(IN_VM, reason="all files that can be written here are in memory")
def test_much_output_fills_no_memory_and_leaves_no_file(run, capfd, monkeypatch, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setenv("TMPDIR", str(spool))
    outcome = run(job("a", "head -c 200000000 /dev/zero", memory="20M"), memory_budget="50M")["a"]
    assert outcome.ok  # far more than its limit: what is written can be reclaimed
    assert os.listdir(spool) == []
    with open("/proc/self/fdinfo/1") as info:
        assert int(info.readline().split()[1]) >= 200_000_000
    os.ftruncate(1, 0)


def test_who_writes_too_much_is_ended_and_the_rest_is_not_shown(run, capfd):
    # In the VM what is written lies in memory, and counts against the job's own limit.
    written = "yes | head -c 8M; sleep 600"
    found = run(job("a", written), job("b", "echo fine"), output_limit="1M")
    assert (found["a"].verdict, found["b"].ok) == ("output-limit", True)
    assert found["a"].error == "wrote more than 1.0M" and not found["a"].ok
    out = capfd.readouterr().out.replace("fine\n", "")
    assert out == "y\n" * (MIB // 2)


# ---- for programs ----------------------------------------------------------------------------


def test_outcomes_come_in_the_order_of_the_jobs(run):
    found = run(job("b", "sleep 0.1"), job("a", "exit 3"), {"command": "true"}, at_once=3)
    assert list(found) == ["b", "a", "3"]
    assert [o.ok for o in found.values()] == [True, False, True]
    assert found["a"].result.returncode == 3


def test_jobs_with_errors_are_refused_together(run):
    with pytest.raises(ConfigError) as caught:
        run(job("a", "touch started", memory="60MB"), {"cmd": "x"})
    assert len(caught.value.problems) == 3 and os.listdir(".") == []
    with pytest.raises(ClimitsError, match="there are no jobs"):
        run()
    with pytest.raises(TypeError, match="unexpected keyword argument 'memry'"):
        run(job("a", "true"), memry="5M")


def test_a_program_may_watch(run):
    events = []

    class Log(Watcher):
        def started(self, start):
            events.append(("started", start.job.name, start.attempt))

        def retried(self, retry, outcome):
            events.append(("retried", retry.job.name, outcome.verdict))

        def ended(self, outcome):
            events.append(("ended", outcome.job.name, outcome.ok))

        def shown(self, outcome):
            events.append(("shown", outcome.job.name))

    run(job("a", "exit 1", retries=1), watcher=Log())
    assert events == [
        ("started", "a", 1), ("retried", "a", "exited"), ("started", "a", 2), ("ended", "a", False),
        ("shown", "a"),
    ]  # fmt: skip


def test_results_of_a_program_can_be_resumed(run):
    for n in (1, 2):
        found = run(job("a", "echo >> log"), job("b", f"[ {n} = 2 ]"), results="r", resume=True)
        assert found["b"].ok == (n == 2)
    assert Path("log").read_text() == "\n"


def test_from_a_thread(run):
    found = {}
    thread = threading.Thread(target=lambda: found.update(run(job("a", "true"))))
    thread.start()
    thread.join()
    assert found["a"].ok


def test_an_exception_ends_what_runs(run):
    class Fails(Watcher):
        def ended(self, outcome):
            raise RuntimeError("of the program's own")

    with pytest.raises(RuntimeError, match="of the program's own"):
        run(job("a", "sleep 1000"), job("b", "true"), at_once=2, watcher=Fails())


def test_very_many_jobs_of_which_none_can_start(run):
    found = run(*({"command": ["/no/such"]} for _ in range(2000)))
    assert {o.verdict for o in found.values()} == {"failed-to-start"} and len(found) == 2000


def test_more_jobs_at_once_than_descriptors(climits, tmp_path):
    values = [str(n) for n in range(40)]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 160; exec "$@"', "sh", climits, "batch", "--jobs", "100", "--quiet",
         "--keep-order", "--memory", "10M", "[ {} != 0 ] || sleep 0.3; echo {}", ":::", *values],
        capture_output=True, text=True, cwd=tmp_path, timeout=60 * PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == values
