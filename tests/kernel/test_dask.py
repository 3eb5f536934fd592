"""Functions and batches on a Dask cluster: a scheduler and two workers, each in its own cgroup."""

import concurrent.futures as cf
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time

import pytest
from support import IN_VM, gone, our_cgroups, until

import climits
from climits.batch import dask_cluster
from climits.cgroup.layout import current
from climits.cgroup.leftovers import sweep
from climits.cgroup.placement import HOME
from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError, UnsupportedError

distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
if IN_VM:
    pytest.skip("three interpreters a test are too slow here", allow_module_level=True)

import climits.dask  # noqa: E402

MIB = 1 << 20
pytestmark = pytest.mark.timeout(120)


class Cluster_:
    """A scheduler and workers on the loopback, each under climits.

    Attributes:
        address: of the scheduler.
        workers: Processes, by name.
    """

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.workers, self.clients = {}, []
        self.environment = os.environ | {
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
            "PYTHONFAULTHANDLER": "1",
            "DASK_TEMPORARY_DIRECTORY": str(folder),
        }
        self.scheduler = self._start(
            "scheduler", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard",
            "--no-show",
        )  # fmt: skip

    def _start(self, name, *words, environment=None):
        with open(self.folder / f"{name}.log", "wb") as log:
            return climits.Process(
                [sys.executable, "-m", "dask", *map(str, words)], memory="500M", stdin=-3,
                stdout=log, stderr=log, cwd=self.folder, env=environment or self.environment,
            )  # fmt: skip

    def add(self, name, memory=100 * MIB, threads=2, environment=None):
        resources = ["--resources", f"memory={memory}"] if memory else []
        self.workers[name] = self._start(
            name, "worker", self.address, "--host", "127.0.0.1", "--no-nanny", "--nthreads",
            threads, "--name", name, "--no-dashboard", "--local-directory", self.folder / name,
            *resources, environment=environment,
        )  # fmt: skip
        return self

    def client(self):
        client = distributed.Client(self.address, timeout=60, set_as_default=False)
        self.clients.append(client)
        client.wait_for_workers(len(self.workers), timeout=60)
        return client

    def kill(self, name, number=signal.SIGKILL):
        process = self.workers.pop(name)
        process.send_signal(number)
        process.wait(30)

    def close(self):
        for client in self.clients:
            client.close()
        for name, process in {**self.workers, "scheduler": self.scheduler}.items():
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(10)
            except climits.TimeoutExpired:
                # Dask itself hangs at times when it is ended; its log tells whether it is not us.
                process.send_signal(signal.SIGABRT)
                process.wait()
                assert "/climits/batch/" not in (self.folder / f"{name}.log").read_text()


@pytest.fixture
def empty(tmp_path):
    """A scheduler without workers."""
    before = set(our_cgroups())
    cluster = Cluster_(tmp_path)
    try:
        yield cluster
    finally:
        cluster.close()
        # The guard of a worker that was killed takes a moment longer, or was killed with the cgroup
        # that the worker lay in: then the next start of climits cleans up.
        sweep(current(), HOME)
        until(lambda: before.issuperset(our_cgroups()), "a cgroup was left behind")


@pytest.fixture
def cluster(empty):
    return empty.add("one").add("two")


@pytest.fixture
def pool(cluster):
    with climits.dask.Executor(cluster.client(), memory="40M") as made:
        yield made


# Defined here, and not in a module: the workers get them by value, as those of a script.
def by_value(function):
    function.__module__ = "__main__"
    return function


@by_value
def square(x):
    return x * x


@by_value
def add(a, b, *, c=0):
    return a + b + c


@by_value
def fill(mib):
    return len(bytearray(mib << 20))


@by_value
def fail(text):
    raise KeyError(text)


@by_value
def where():
    import os

    return os.getppid()


@by_value
def leave(status):
    import os

    os._exit(status)


@by_value
def kill_parent():
    import os

    os.kill(os.getppid(), 9)


@by_value
def fill_in_a_child(mib):
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", f"bytearray({mib} << 20)"], check=True)


@by_value
def wait_for(file, log=None):
    import os
    import time

    if log:
        with open(log, "a") as out:
            out.write(f"{os.getpid()} {os.getppid()}\n")
    while not os.path.exists(file):
        time.sleep(0.01)
    return os.getppid()


@by_value
def nap(seconds):
    import os
    import time

    began = time.monotonic()
    time.sleep(seconds)
    return os.getppid(), began, time.monotonic()


def pids(path):
    """(of the task, of the Dask worker) that `wait_for` has noted."""
    if not path.exists():
        return []
    return [tuple(map(int, line.split())) for line in path.read_text().splitlines()]


# ---- functions -------------------------------------------------------------------------------


def test_the_interface_of_concurrent_futures(pool):
    future = pool.submit(add, 1, 2, c=3)
    assert future.result() == 6
    assert (future.verdict, future.attempts, future.memory_max) == ("exited", 1, 40 * MIB)
    assert list(pool.map(square, range(20))) == [n * n for n in range(20)]
    assert list(pool.map(add, range(10), range(10, 30), chunksize=3)) == [
        10 + 2 * n for n in range(10)
    ]
    futures = {pool.submit(square, n): n for n in range(10)}
    for future in cf.as_completed(futures, timeout=60):
        assert future.result() == futures[future] ** 2
    done, left = cf.wait(futures)
    assert len(done) == 10 and not left
    big = bytes(range(256)) * 20_000
    assert pool.submit(bytes.upper, big).result() == big.upper()
    array = pickle.PickleBuffer(bytearray(b"abc"))
    assert bytes(pool.submit(bytearray, array).result()) == b"abc"
    with pytest.raises(KeyError, match="no luck") as info:
        pool.submit(fail, "no luck").result()
    assert "in fail" in str(info.value.__cause__)
    with pytest.raises(TimeoutError):
        list(pool.map(time.sleep, [30], timeout=0.1))
    with pytest.raises(InvalidValueError, match="cannot be sent"):
        pool.submit(square, socket.socket())
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(square, 1)


def test_what_runs_out_of_memory_is_the_task_alone(cluster, pool):
    client = cluster.clients[0]
    before = client.run(os.getpid)
    beside = [pool.submit(nap, 1) for _ in range(2)]
    future = pool.submit(fill, 80)
    with pytest.raises(climits.OutOfMemoryError, match="fill ran out of memory") as info:
        future.result()
    assert info.value.limit == 40 * MIB and info.value.task == "fill"
    assert (future.verdict, future.attempts) == ("oom-killed", 1)
    with pytest.raises(climits.OutOfMemoryError, match="had started") as info:
        pool.submit(fill_in_a_child, 80).result()
    assert isinstance(info.value.__cause__, subprocess.CalledProcessError)
    # With more memory it goes back to the scheduler.
    grows = climits.task(fill, memory="30M", retry_memory=["60M", "100M"])
    future = pool.submit(grows, 80)
    assert future.result() == 80 * MIB
    assert (future.attempts, future.memory_max) == (3, 100 * MIB)
    with pytest.raises(climits.WorkerDiedError, match="exited with status 3"):
        pool.submit(leave, 3).result()
    future = pool.submit(climits.task(time.sleep, timeout=0.3), 60)
    with pytest.raises(climits.TaskTimeoutError, match=r"more than 0.3s"):
        future.result()
    assert future.verdict == "timed-out"
    for future in beside:
        future.result()
    assert client.run(os.getpid) == before  # Dask's own processes live on


def test_memory_decides_how_many_run_at_once(cluster, pool):
    def run(memory, count):
        naps = pool.map(climits.task(nap, memory=memory), [0.3] * count)
        runs = {}
        for worker, began, ended in naps:
            runs.setdefault(worker, []).append((began, ended))
        starts = [(began, its) for its in runs.values() for began, _ in its]
        return max(sum(a <= began < b for a, b in its) for began, its in starts)

    assert run("30M", 8) == 2  # as many as there are threads
    assert run("60M", 6) == 1  # the worker has 100M


def test_what_is_cancelled_is_ended(pool, tmp_path):
    log = tmp_path / "log"
    future = pool.submit(wait_for, "/nowhere", str(log))
    until(lambda: pids(log))
    assert future.cancel() and future.cancel() and future.cancelled()
    until(lambda: gone(pids(log)[0][0]))
    futures = [pool.submit(wait_for, "/nowhere", str(log)) for _ in range(6)]
    until(lambda: len(pids(log)) > 4)
    pool.shutdown(cancel_futures=True)
    assert all(f.cancelled() for f in futures)
    until(lambda: all(gone(pid) for pid, _ in pids(log)))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_has_its_tasks_run_elsewhere(cluster, pool, tmp_path, number):
    log, go = tmp_path / "log", tmp_path / "go"
    futures = [pool.submit(wait_for, str(go), str(log)) for _ in range(6)]
    until(lambda: len(pids(log)) == 4)
    killed = cluster.workers["one"].pid
    its = [task for task, worker in pids(log) if worker == killed]
    assert len(its) == 2
    cluster.kill("one", number)
    until(lambda: all(map(gone, its)), "a task outlived the worker that it was given to")
    go.touch()
    assert {f.result() for f in futures} == {cluster.workers["two"].pid}


def test_a_task_that_kills_its_worker_is_given_up(cluster, pool):
    cluster.add("three")
    cluster.clients[0].wait_for_workers(3, timeout=60)
    future = pool.submit(kill_parent)
    with pytest.raises(climits.WorkerDiedError, match="2 dask workers died with it"):
        future.result()
    assert future.verdict == "worker-lost"
    assert pool.submit(square, 3).result() == 9


def test_the_workers_have_to_say_what_they_have(empty):
    client = empty.add("one", memory=None).client()
    with pytest.raises(UnsupportedError, match="no dask worker says how much memory") as info:
        climits.dask.Executor(client)
    assert "--resources" in info.value.hint
    empty.add("two", memory=50 * MIB)
    client = empty.client()
    with pytest.raises(InvalidValueError, match=r"1.0G fits no dask worker: the largest has 50.0M"):
        climits.dask.Executor(client)
    for memory, text in (("50%", "hosts differ"), ("max", "by its limit"), ("1MB", "powers of")):
        with pytest.raises(InvalidValueError, match=text):
            climits.dask.Executor(client, memory=memory)
    with climits.dask.Executor(client, memory="40M") as pool:
        with pytest.raises(InvalidValueError, match="fits no dask worker"):
            pool.submit(climits.task(square, memory="40M", retry_memory=["51M"]), 1)
        assert pool.submit(square, 3).result() == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("__version__ = '0.0.1'", "climits 0.0.1 is there, and"),
        ("raise ImportError('nothing here')", "cannot be imported there: nothing here"),
    ],
)
def test_another_climits_or_none_is_told_at_once(empty, tmp_path, text, told):
    (tmp_path / "other/climits").mkdir(parents=True)
    (tmp_path / "other/climits/__init__.py").write_text(text)
    there = empty.environment | {"PYTHONPATH": str(tmp_path / "other")}
    client = empty.add("one", environment=there).client()
    with pytest.raises(UnsupportedError, match=told) as info:
        climits.dask.Executor(client)
    assert "pip install" in info.value.hint
    # One that has come later could not be asked.
    empty.kill("one")
    until(lambda: not client.scheduler_info()["workers"])
    pool = climits.dask.Executor(client, memory="20M")
    future = pool.submit(square, 2)
    empty.add("two", environment=there)
    with pytest.raises(ClimitsError, match="climits"):
        future.result(60)
    pool.shutdown()


def test_a_client_that_is_closed_leaves_no_future_waiting(cluster, tmp_path):
    client = cluster.client()
    pool = climits.dask.Executor(client, memory="20M")
    future = pool.submit(wait_for, "/nowhere", str(tmp_path / "log"))
    until(lambda: pids(tmp_path / "log"))
    client.close()
    with pytest.raises(ClimitsError, match="closed"):
        future.result(20)
    until(lambda: gone(pids(tmp_path / "log")[0][0]))
    with pytest.raises(ClimitsError, match="closed"):
        pool.submit(square, 1)
    pool.shutdown()


# ---- batches ---------------------------------------------------------------------------------


@pytest.fixture
def batch(cluster, climits, tmp_path):
    """Start a batch on the cluster, in a folder of the test's own."""
    cluster.client()
    started = []

    def start(*words):
        command = [climits, "batch", "--dask", cluster.address, "--memory", "20M"]
        started.append(
            subprocess.Popen(
                [*command, *map(str, words)], cwd=tmp_path, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
        )  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.returncode is None:  # the test has failed: what it was told helps
            process.send_signal(signal.SIGINT)
            print(*process.communicate(timeout=30), sep="\n")


def records(path):
    return {r["name"]: r for r in map(json.loads, path.read_text().splitlines())}


def test_a_batch_runs_on_the_cluster(cluster, batch, tmp_path, hog):
    (tmp_path / "jobs.toml").write_text(
        f"""
        [job.a]
        command = "echo out; echo err >&2; echo $WORD > made"
        env = {{ WORD = "here" }}
        [job.b]
        command = "cat made; echo more >> {{name}}.out"
        depends_on = ["a"]
        stdout = "{{name}}.log"
        [job.big]
        command = ["{hog}", "alloc", "30"]
        [job.grows]
        command = ["{hog}", "alloc", "30"]
        retry_memory = 2
        [job.slow]
        command = "sleep 60"
        timeout = 0.3
        [job.loud]
        command = "yes | head -c 20000000"
        [job.none]
        command = ["/no/such/program"]
        """
    )
    process = batch("jobs.toml", "--retries", "0")
    out, err = process.communicate(timeout=90)
    found = records(tmp_path / "jobs.toml.results.jsonl")
    verdicts = {name: (r["verdict"], r["ok"], r["attempts"]) for name, r in found.items()}
    assert verdicts == {
        "a": ("exited", True, 1), "b": ("exited", True, 1), "big": ("oom-killed", False, 1),
        "grows": ("exited", True, 2), "slow": ("timed-out", False, 1), "loud": ("exited", True, 1),
        "none": ("failed-to-start", False, 1),
    }, err  # fmt: skip
    assert process.returncode == 3
    assert found["grows"]["memory_max"] == 40 * MIB and found["big"]["memory_peak"] <= 20 * MIB
    assert (tmp_path / "b.log").read_text() == "here\n"
    assert "out\n" in out and "err\n" in err and "OOM-killed" in err.splitlines()[-2]
    assert out.count("y\n") >= MIB  # as much as is brought back, and a word about the rest
    assert len(out) < 17 * MIB and "[climits: 3.1M more were not brought back" in out
    assert (tmp_path / "made").read_text() == "here\n"


def test_a_batch_goes_on_when_a_worker_is_killed(cluster, batch, tmp_path):
    script = "echo $$ >> pids; until [ -e go ]; do sleep 0.02; done; echo {} >> done; echo {}"
    process = batch("--results", "r", script, ":::", *range(8))
    log = tmp_path / "pids"
    until(lambda: log.exists() and len(log.read_text().split()) == 4)
    cluster.kill("one")
    # Two of them, and what they have started.
    until(lambda: sum(map(gone, map(int, log.read_text().split()))) == 2)
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert sorted(out.split()) == [str(n) for n in range(8)]
    assert {name for name, r in records(tmp_path / "r").items() if r["ok"]} == set(out.split())
    assert sorted((tmp_path / "done").read_text().split()) == sorted(out.split())
    # What had finished is not run again.
    process = batch("--results", "r", "--resume", script, ":::", *range(9))
    assert process.communicate(timeout=60)[0].split() == ["8"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_batch_that_is_stopped_leaves_nothing_on_the_hosts(cluster, batch, tmp_path, number):
    script = "trap 'echo {} >> told; exit 3' TERM; echo $$ >> pids; sleep 1000 & wait"
    process = batch("--results", "r", script, ":::", *range(9))
    log = tmp_path / "pids"
    until(lambda: log.exists() and len(log.read_text().split()) == 4)
    time.sleep(0.1)  # until the last has its child
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    until(lambda: all(gone(int(pid)) for pid in log.read_text().split()), "a job runs on")
    # Their children too, and those that waited never start.
    hosts = [f"-{worker.pid}-" for worker in cluster.workers.values()]
    until(lambda: not [path for path in our_cgroups() if any(host in path for host in hosts)])
    assert len(log.read_text().split()) == 4
    if number == signal.SIGINT:
        assert process.returncode == 130, err
        assert len((tmp_path / "told").read_text().split()) == 4  # asked, and not just killed
        found = records(tmp_path / "r")
        assert {r["verdict"] for r in found.values()} == {"stopped"} and len(found) >= 4


def test_the_first_failure_can_end_it(cluster, batch, tmp_path):
    script = "[ {} = 1 ] && exit 3; sleep 1000"
    process = batch("--fail-fast", "--kill-after", "1", script, ":::", 0, 1, 2)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1 and "1 exited non-zero" in err and "stopped" in err


def test_a_scheduler_that_goes_ends_the_batch(cluster, batch, tmp_path):
    process = batch("echo $$ >> pids; sleep 1000", ":::", 1, 2)
    log = tmp_path / "pids"
    until(lambda: log.exists() and len(log.read_text().split()) == 2)
    cluster.scheduler.kill()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 125 and "the connection to the dask scheduler is lost" in err
    until(lambda: all(gone(int(pid)) for pid in log.read_text().split()), "a job runs on")


def run(capfd, *words):
    with pytest.raises(ClimitsError) as info:  # the command line makes a line of it, and 125
        dispatch(["batch", *map(str, words)])
    assert capfd.readouterr().err == "" and "\n" not in str(info.value)
    return f"{info.value}; hint: {info.value.hint}"


def test_what_can_be_told_at_once(cluster, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cluster.client()
    there = ("--dask", cluster.address)
    err = run(capfd, *there, "--memory", "1G", "true", ":::", 1)
    assert "largest dask worker, which has 100.0M" in err
    err = run(capfd, *there, "--memory-budget", "1G", "true", ":::", 1)
    assert "memory-budget is of this machine" in err
    (tmp_path / "j.jsonl").write_text('{"command": "true", "memory": "max"}')
    err = run(capfd, *there, "j.jsonl")
    assert "finds a place for a job by its limit" in err
    assert dispatch(["batch", *there, "--check", "true", ":::", "1"]) == 0
    assert "2 dask workers with 200.0M of memory" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("address", "text"),
    [("tcp://127.0.0.1:{port}", "does not answer"), ("nonsense", "not an address")],
)
def test_a_scheduler_that_does_not_answer(capfd, monkeypatch, address, text):
    monkeypatch.setattr(dask_cluster, "ANSWERS_IN", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = address.format(port=mute.getsockname()[1])
        err = run(capfd, "--dask", address, "true", ":::", 1)
    assert text in err


def test_dask_that_is_not_installed(capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    err = run(capfd, "--dask", "tcp://127.0.0.1:1", "true", ":::", 1)
    assert err == 'dask is not installed; hint: pip install "climits[dask]"'
