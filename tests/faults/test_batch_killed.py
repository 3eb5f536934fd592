"""A batch that is killed: nothing that had finished is lost, and nothing runs on."""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from support import IN_VM, PATIENCE, gone, our_cgroups, until

JOBS = 40
MOMENTS = 3 if IN_VM else 8


def start(climits, folder, *words):
    return subprocess.Popen(
        [climits, "batch", "--memory", "20M", *words], cwd=folder, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def records(path):
    """What is recorded; a last line that is torn is left out."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def test_no_job_runs_on_uncontrolled(climits, tmp_path):
    script = "sleep 1000 & echo $! > child.{}; echo $$ > parent.{}; wait"
    process = start(climits, tmp_path, "--jobs", "2", script, ":::", "a", "b")
    files = [tmp_path / f"{who}.{job}" for who in ("child", "parent") for job in "ab"]
    try:
        until(lambda: all(file.exists() and file.read_text() for file in files))
    finally:
        kill(process)
    pids = [int(file.read_text()) for file in files]
    until(lambda: all(map(gone, pids)), "a job outlived the batch")
    until(lambda: our_cgroups() == [], "a cgroup outlived the batch")


def begun_jobs(folder):
    log = folder / "log"
    return len(log.read_text().split()) if log.exists() else 0


@pytest.mark.timeout(120 * PATIENCE)
def test_what_had_finished_is_not_run_again_whenever_it_is_killed(climits, tmp_path):
    commands = "".join(f"echo {n} >> log; sleep 0.01; echo {n} > out.{n}\n" for n in range(JOBS))
    (tmp_path / "jobs.txt").write_text(commands)
    results = tmp_path / "jobs.txt.results.jsonl"
    chance = random.Random(6)
    killed = 0
    for _ in range(MOMENTS):
        process = start(climits, tmp_path, "jobs.txt", "--resume", "--jobs", "2")
        # At some moment of its work, however fast that goes.
        begun = begun_jobs(tmp_path) + chance.randint(0, JOBS // MOMENTS)
        while process.poll() is None and begun_jobs(tmp_path) <= begun:
            time.sleep(0.001)
        killed += process.poll() is None
        kill(process)
        for record in records(results):
            assert record["ok"], record
    process = start(climits, tmp_path, "jobs.txt", "--resume")
    assert process.wait(60 * PATIENCE) == 0
    assert killed
    found = [record["fingerprint"] for record in records(results)]
    assert len(found) == len(set(found)) == JOBS  # none was run again after it was recorded
    ran = (tmp_path / "log").read_text().split()
    assert set(ran) == {str(n) for n in range(JOBS)}
    assert len(ran) <= JOBS + 2 * killed  # those that were running when it was killed
    assert all((tmp_path / f"out.{n}").read_text() == f"{n}\n" for n in range(JOBS))


def test_a_batch_whose_job_kills_it_can_be_resumed(climits, tmp_path):
    commands = "echo a >> log\nif mkdir once; then kill -9 $PPID; sleep 1000; fi\necho c >> log\n"
    (tmp_path / "jobs.txt").write_text(commands)
    process = start(climits, tmp_path, "jobs.txt", "--jobs", "1")
    assert process.wait(60 * PATIENCE) == -signal.SIGKILL
    assert [r["name"] for r in records(tmp_path / "jobs.txt.results.jsonl")] == ["1"]
    process = start(climits, tmp_path, "jobs.txt", "--jobs", "1", "--resume")
    assert process.wait(60 * PATIENCE) == 0
    assert (tmp_path / "log").read_text().split() == ["a", "c"]
    until(lambda: our_cgroups() == [])


def test_a_torn_line_is_written_anew(climits, tmp_path):
    (tmp_path / "jobs.txt").write_text("echo a >> log\necho b >> log\n")
    results = tmp_path / "jobs.txt.results.jsonl"
    assert start(climits, tmp_path, "jobs.txt", "--jobs", "1").wait(60 * PATIENCE) == 0
    os.truncate(results, results.stat().st_size - 10)
    assert start(climits, tmp_path, "jobs.txt", "--resume").wait(60 * PATIENCE) == 0
    assert (tmp_path / "log").read_text().split() == ["a", "b", "b"]
    lines = results.read_text().splitlines()
    assert len(lines) == 3 and [json.loads(lines[n])["name"] for n in (0, 2)] == ["1", "2"]
    assert start(climits, tmp_path, "jobs.txt", "--resume").wait(60 * PATIENCE) == 0
    assert results.read_text().splitlines() == lines


def test_a_full_disk_for_what_jobs_write_fails_the_job_alone(climits, tmp_path):
    environment = os.environ | {"TMPDIR": str(tmp_path / "gone")}
    done = subprocess.run(
        [climits, "batch", "--memory", "20M", "--results", "r", "echo {}", ":::", "a"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1) and "fault" not in done.stderr
    assert len(records(tmp_path / "r")) == 1
