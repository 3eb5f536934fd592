"""Pools of workers under limits: only the task that runs out of memory fails."""

import asyncio
import concurrent.futures as cf
import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest
from pool_tasks import (
    MIB,
    Buffered,
    Scale,
    add,
    bounded,
    crash,
    fail,
    fail_awkwardly,
    fill,
    fork_and,
    is_set_up,
    keep,
    kill_self,
    leave,
    nap,
    note,
    pid,
    roomy,
    run_child,
    same,
    set_up,
    spare_lambda,
    square,
    wait_for,
)  # fmt: skip
from support import IN_VM, PATIENCE, our_cgroups, until

import climits
from climits import OutOfMemoryError, ProcessPoolExecutor, TaskTimeoutError, WorkerDiedError

#: Enough for an interpreter and the modules of the tests, and little enough to be run out of.
LIMIT = "64M"
#: Starting an interpreter takes the VM some seconds.
of_python = pytest.mark.skipif(IN_VM, reason="a matter of Python, not of the kernel")


@pytest.fixture
def pool():
    with ProcessPoolExecutor(2, LIMIT) as made:
        yield made


# ---- the interface of concurrent.futures ----------------------------------------------------


def test_submit_and_map(pool):
    future = pool.submit(add, 1, 2, c=3)
    assert future.result() == 6
    assert (future.verdict, future.attempts, future.memory_max) == ("exited", 1, 64 * MIB)
    assert list(pool.map(square, range(100))) == [n * n for n in range(100)]
    assert list(pool.map(square, range(100), chunksize=7)) == [n * n for n in range(100)]
    assert list(pool.map(add, range(10), range(10, 30), chunksize=3)) == [
        10 + 2 * n for n in range(10)
    ]
    assert list(pool.map(square, [])) == []


def test_each_task_has_its_own_function_in_the_state_of_that_moment():
    """What a worker keeps of the task before is a function's name, and no more."""
    scale = Scale(2)
    with ProcessPoolExecutor(1, LIMIT) as pool:
        futures = []
        for factor in (2, 3):
            scale.factor = factor
            futures += [pool.submit(scale, 10), pool.submit(square, factor), pool.submit(pid)]
            futures.append(pool.submit(scale, 10))
        values = [future.result() for future in futures]
        worker = values[2]
        assert values == [20, 4, worker, 20, 30, 9, worker, 30]
        scaled = pool.map(scale, range(4), chunksize=2)
        assert list(pool.map(square, range(4), chunksize=2)) == [0, 1, 4, 9]
        assert list(scaled) == [0, 3, 6, 9]


@of_python
def test_as_completed_and_wait(pool):
    futures = {pool.submit(square, n): n for n in range(20)}
    for future in cf.as_completed(futures, timeout=60 * PATIENCE):
        assert future.result() == futures[future] ** 2
    done, left = cf.wait(futures)
    assert len(done) == 20 and not left


@of_python
def test_run_in_executor(pool):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(pool, square, n) for n in range(5)))

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


@of_python
def test_map_times_out(pool):
    with pytest.raises(TimeoutError):
        list(pool.map(time.sleep, [2 * PATIENCE], timeout=0.1))


@of_python
def test_initializer():
    with ProcessPoolExecutor(1, LIMIT, initializer=set_up, initargs=("here",)) as pool:
        assert pool.submit(is_set_up).result() == ["here"]


@of_python
def test_initializer_that_fails_breaks_the_pool():
    with ProcessPoolExecutor(1, LIMIT, initializer=fail, initargs=("no luck",)) as pool:
        future = pool.submit(pid)
        with pytest.raises(cf.BrokenExecutor, match="could not start") as info:
            future.result()
        assert isinstance(info.value.__cause__, KeyError)
        until(lambda: pool._engine.broken)
        with pytest.raises(cf.BrokenExecutor):
            pool.submit(pid)


@of_python
def test_shutdown(pool):
    futures = [pool.submit(square, n) for n in range(50)]
    pool.shutdown()
    assert [f.result() for f in futures] == [n * n for n in range(50)]
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(pid)


@of_python
def test_cancel_futures(tmp_path):
    go = tmp_path / "go"
    pool = ProcessPoolExecutor(1, LIMIT)
    first = pool.submit(wait_for, str(go))
    others = [pool.submit(pid) for _ in range(10)]
    until(first.running)
    assert others[-1].cancel()
    pool.shutdown(wait=False, cancel_futures=True)
    go.touch()
    pool.shutdown()
    assert first.result() and all(f.cancelled() for f in others)


def test_nothing_is_left(pool):
    pids = {f.result() for f in [pool.submit(pid) for _ in range(20)]}
    assert our_cgroups() != []
    pool.shutdown()
    assert our_cgroups() == []
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)


@of_python
def test_bad_values():
    for options, text in (
        ({"max_workers": 0}, "max_workers: 0"),
        ({"memory": "1MB"}, "powers of 1000"),
        ({"memory": "1G", "memory_budget": "500M"}, "does not fit into"),
        ({"memory_budget": "0"}, "no room"),
        ({"timeout": -1}, "above 0"),
        ({"retry_memory": ["1M"]}, "not above"),
        ({"pids": 0}, "pids"),
    ):
        with pytest.raises(climits.InvalidValueError, match=text):
            ProcessPoolExecutor(**options)
    pool = ProcessPoolExecutor(1, LIMIT, memory_budget="1G")
    with pool, pytest.raises(climits.InvalidValueError, match="does not fit"):
        pool.submit(climits.task(fill, memory="2G"), 1)


# ---- deaths ---------------------------------------------------------------------------------


def test_only_the_task_that_runs_out_of_memory_fails(pool):
    before = [pool.submit(square, n) for n in range(30)]
    greedy = pool.submit(fill, 200)
    after = [pool.submit(square, n) for n in range(30)]
    with pytest.raises(MemoryError) as info:
        greedy.result()
    error = info.value
    assert isinstance(error, OutOfMemoryError)
    assert (error.limit, error.task, error.verdict) == (64 * MIB, "fill", "oom-killed")
    assert 48 * MIB < error.peak <= 64 * MIB + 4 * MIB
    assert error.result.verdict == "oom-killed" and error.result.oom_kill == 1
    assert "fill ran out of memory at its limit of 64.0M" in str(error)
    assert (greedy.verdict, greedy.attempts) == ("oom-killed", 1)
    assert [f.result() for f in before + after] == [n * n for n in range(30)] * 2
    assert pool.submit(square, 3).result() == 9


@of_python
def test_error_of_memory_can_be_sent_on(pool):
    with pytest.raises(OutOfMemoryError) as info:
        pool.submit(fill, 200).result()
    again = pickle.loads(pickle.dumps(info.value))
    assert (again.limit, again.task, str(again)) == (64 * MIB, "fill", str(info.value))


@pytest.mark.parametrize(
    ("task", "text", "verdict"),
    [
        ((crash,), "killed by SIGSEGV", "signaled"),
        ((leave, 3), "exited with status 3", "exited"),
        ((kill_self, 9), "killed by SIGKILL", "signaled"),
    ],
)
def test_a_worker_that_dies(pool, task, text, verdict):
    others = [pool.submit(square, n) for n in range(10)]
    future = pool.submit(*task)
    with pytest.raises(WorkerDiedError, match=text) as info:
        future.result()
    assert info.value.task == task[0].__name__
    assert (info.value.result.verdict, future.attempts) == (verdict, 1)
    assert [f.result() for f in others] == [n * n for n in range(10)]
    assert pool.submit(square, 4).result() == 16


def test_tasks_behind_a_deadly_one_are_run_once(tmp_path):
    """Those that its worker had been given already, too."""
    log = tmp_path / "log"
    with ProcessPoolExecutor(1, LIMIT) as pool:
        list(pool.map(square, range(300)))  # so short that many are given out at a time
        futures = [pool.submit(note, str(log), n) for n in range(40)]
        deadly = pool.submit(leave, 1)
        futures += [pool.submit(note, str(log), n) for n in range(40, 80)]
        assert [f.result() for f in futures] == list(range(80))
        assert isinstance(deadly.exception(), WorkerDiedError)
    assert sorted(map(int, log.read_text().split())) == list(range(80))


def test_a_pool_whose_workers_cannot_start_says_why():
    with ProcessPoolExecutor(1, "2M") as pool:
        future = pool.submit(pid)
        with pytest.raises(cf.BrokenExecutor) as info:
            future.result()
        assert "enough to start Python" in (info.value.hint or "")


def test_a_process_that_the_task_started(pool, hog):
    future = pool.submit(run_child, hog, 200)
    with pytest.raises(OutOfMemoryError, match="a process that run_child had started") as info:
        future.result()
    assert isinstance(info.value.__cause__, subprocess.CalledProcessError)
    assert pool.submit(square, 4).result() == 16


def test_timeout(pool):
    slow = pool.submit(climits.task(nap, timeout=0.3 * PATIENCE), 1000)
    others = [pool.submit(square, n) for n in range(10)]
    with pytest.raises(TimeoutError, match="nap ran for more than") as info:
        slow.result()
    assert isinstance(info.value, TaskTimeoutError) and slow.verdict == "timed-out"
    assert [f.result() for f in others] == [n * n for n in range(10)]


@of_python
def test_a_timeout_counts_from_when_the_task_runs():
    with ProcessPoolExecutor(1, LIMIT, timeout=1.0 * PATIENCE) as pool:
        futures = [pool.submit(nap, 0.4 * PATIENCE) for _ in range(4)]
        assert all(f.result() for f in futures)


# ---- more memory ----------------------------------------------------------------------------


def test_retry_with_more_memory(pool):
    ladder = climits.task(fill, retry_memory=["96M", "300M"])
    future = pool.submit(ladder, 150)
    assert future.result() == 150 * MIB
    assert (future.attempts, future.memory_max, future.verdict) == (3, 300 * MIB, "exited")
    assert pool.submit(fill, 100).exception().limit == 64 * MIB  # as before


def test_no_task_is_tried_without_end(pool):
    future = pool.submit(climits.task(fill, retry_memory=["80M", "96M"]), 200)
    assert isinstance(future.exception(), OutOfMemoryError)
    assert (future.attempts, future.memory_max) == (3, 96 * MIB)


def _queue(pool):
    with pool._engine.lock:
        return list(pool._engine._roster.queue)


def test_what_is_to_be_tried_again_has_begun_and_is_not_cancelled(tmp_path):
    go = tmp_path / "go"
    pool = ProcessPoolExecutor(2, LIMIT, memory_budget="400M")
    hold = pool.submit(climits.task(wait_for, memory="300M"), str(go))
    late = pool.submit(climits.task(fill, retry_memory=["300M"]), 150)
    never = pool.submit(climits.task(square, memory="300M"), 2)
    until(lambda: any(work.future is late and work.started for work in _queue(pool)))
    pool.shutdown(wait=False, cancel_futures=True)
    go.touch()
    assert late.result(60 * PATIENCE) == 150 * MIB
    assert hold.result() and never.cancelled()
    pool.shutdown()


def test_only_want_of_memory_is_tried_again(pool):
    future = pool.submit(climits.task(leave, retry_memory=["128M"]), 3)
    assert isinstance(future.exception(), WorkerDiedError)
    assert future.attempts == 1


def test_a_task_with_a_limit_of_its_own(pool):
    assert pool.submit(roomy, 100).result() == 100 * MIB
    assert roomy(1) == MIB  # and called here it is the function
    small = pool.submit(climits.task(fill, memory="32M"), 40)
    assert small.exception().limit == 32 * MIB


def test_peak_of_each_task(pool):
    big, small = pool.submit(fill, 40), None
    assert big.result() == 40 * MIB
    small = pool.submit(fill, 1)
    small.result()
    assert 40 * MIB < big.memory_peak <= 64 * MIB
    if small.memory_peak is not None:  # v2 before 6.12 cannot tell
        assert small.memory_peak < 40 * MIB


def test_memory_budget_admits_as_many_as_fit():
    with ProcessPoolExecutor(memory="48M", memory_budget="150M") as pool:
        naps = [pool.submit(nap, 0.5 * PATIENCE) for _ in range(9)]
        spans = [f.result() for f in naps]
    at_once = max(sum(a <= began < b for a, b in spans) for began, _ in spans)
    assert at_once == 3


def test_a_large_task_waits_for_room():
    with ProcessPoolExecutor(memory="48M", memory_budget="150M") as pool:
        before = [pool.submit(nap, 0.5 * PATIENCE) for _ in range(2)]
        large = pool.submit(climits.task(nap, memory="140M"), 0.1)
        after = pool.submit(nap, 0.1)
        began, ended = large.result()
        assert all(f.result()[1] <= began for f in before)
        assert after.result()[0] >= ended


# ---- recycling ------------------------------------------------------------------------------


@of_python
def test_max_tasks_per_child():
    with ProcessPoolExecutor(1, LIMIT, max_tasks_per_child=5) as pool:
        pids = [f.result() for f in [pool.submit(pid) for _ in range(20)]]
    assert len(set(pids)) == 4 and all(pids.count(p) == 5 for p in pids)


def test_max_idle_memory():
    with ProcessPoolExecutor(1, "128M", max_idle_memory="40M") as pool:
        first = pool.submit(keep, 1).result()
        assert pool.submit(keep, 1).result() == first
        assert pool.submit(keep, 40).result() == first
        until(lambda: not os.path.exists(f"/proc/{first}"))
        assert pool.submit(pid).result() != first


# ---- what travels ---------------------------------------------------------------------------


@of_python
def test_errors_keep_their_traceback(pool):
    with pytest.raises(KeyError, match="gone") as info:
        pool.submit(fail, "gone").result()
    cause = str(info.value.__cause__)
    assert "in fail" in cause and "raise KeyError(text)" in cause


@of_python
def test_an_error_that_does_not_travel(pool):
    with pytest.raises(RuntimeError, match=r"pool_tasks\.Awkward: 1 2") as info:
        pool.submit(fail_awkwardly).result()
    assert "in fail_awkwardly" in str(info.value.__cause__)


@of_python
def test_what_does_not_pickle(pool):
    lock = threading.Lock()
    with pytest.raises(climits.InvalidValueError, match="square cannot be sent"):
        pool.submit(square, lock)
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        with pytest.raises(climits.InvalidValueError, match="cannot be sent") as info:
            pool.submit(lambda: 7)
        assert "cloudpickle" in info.value.hint
        with pytest.raises((AttributeError, pickle.PicklingError)):
            pool.submit(spare_lambda).result()
    else:
        assert pool.submit(lambda: 7).result() == 7
        assert pool.submit(spare_lambda).result()() == 7
    assert pool.submit(square, 5).result() == 25


@of_python
@pytest.mark.parametrize("size", [0, 1000, 40_000, 3 * MIB, 9 * MIB])
def test_payloads(size):
    data = os.urandom(min(size, 1000)) * (size // 1000 + 1)
    with ProcessPoolExecutor(2, "128M") as pool:
        assert pool.submit(same, data).result() == data
        assert pool.submit(same, {"a": [data, bytearray(data)]}).result() == {"a": [data, data]}
        futures = [pool.submit(same, Buffered(bytearray(data))) for _ in range(6)]
        for future in futures:
            got = future.result().data
            assert got == data
            got += b"x"  # ours to change
        assert pool.submit(square, 5).result() == 25


@of_python
def test_a_slow_reader_loses_nothing(pool):
    """The parent is busy: answers wait in the pipe, long ones beside it."""
    blocked = threading.Event()
    first = pool.submit(same, 1)
    first.add_done_callback(lambda _: blocked.wait(1.0 * PATIENCE))
    futures = [pool.submit(same, Buffered(bytearray([n]) * 100_000)) for n in range(20)]
    blocked.set()
    assert [f.result().data for f in futures] == [bytes([n]) * 100_000 for n in range(20)]


@of_python
def test_a_callback_may_submit(pool):
    more = []
    pool.submit(square, 2).add_done_callback(lambda f: more.append(pool.submit(square, f.result())))
    until(lambda: more)
    assert more[0].result() == 16


def test_idle_workers_take_what_others_have_not_begun(tmp_path):
    go = tmp_path / "go"
    with ProcessPoolExecutor(2, LIMIT) as pool:
        list(pool.map(square, range(300)))
        futures = [pool.submit(square, n) for n in range(20)]
        slow = pool.submit(wait_for, str(go))
        futures += [pool.submit(square, n) for n in range(20, 100)]
        assert [f.result(60 * PATIENCE) for f in futures] == [n * n for n in range(100)]
        assert not slow.done()
        go.touch()
        slow.result()


@of_python
def test_from_threads(pool):
    got = []

    def ask(n):
        got.append(sum(pool.map(square, range(n))))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(sum(i * i for i in range(n)) for n in range(20))


# ---- one function ---------------------------------------------------------------------------


def test_limited():
    size, worker = bounded(10)
    assert size == 10 * MIB and worker != os.getpid()
    with pytest.raises(OutOfMemoryError, match="bounded ran out of memory"):
        bounded(200)
    assert bounded(1)[0] == MIB
    bounded.shutdown()
    assert our_cgroups() == []


@of_python
def test_limited_times_out():
    function = climits.limited(nap, memory=LIMIT, timeout=0.3 * PATIENCE)
    with pytest.raises(TimeoutError):
        function(1000)
    function.shutdown()


# ---- the parent's own end -------------------------------------------------------------------

SCRIPT = """
import os, sys, time, climits
def work(n):
    return n * n
def forever():
    time.sleep(1000)
def pid():
    return os.getpid()
"""


def script(tmp_path, text, *, guarded=True, **options):
    path = tmp_path / "script.py"
    if guarded:
        lines = "".join(f"    {line}\n" for line in text.strip().splitlines())
        text = f"if __name__ == '__main__':\n{lines}"
    path.write_text(SCRIPT + text)
    return subprocess.Popen(
        [sys.executable, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_script_that_just_ends(tmp_path):
    """What was submitted is done, and nothing is left."""
    text = """
pool = climits.ProcessPoolExecutor(2, "64M")
futures = [pool.submit(work, n) for n in range(10)]
futures[-1].add_done_callback(lambda f: print("last", f.result(), flush=True))
"""
    out, err = script(tmp_path, text).communicate(timeout=60 * PATIENCE)
    assert (out, err) == ("last 81\n", "")
    assert our_cgroups() == []


@of_python
def test_a_pool_that_is_dropped(tmp_path):
    text = """
pool = climits.ProcessPoolExecutor(1, "64M")
worker = pool.submit(pid).result()
del pool
while os.path.exists(f"/proc/{worker}"): time.sleep(0.01)
print("gone")
"""
    assert script(tmp_path, text).communicate(timeout=60 * PATIENCE) == ("gone\n", "")


def test_kill_9_of_the_parent_leaves_nothing(tmp_path):
    text = """
pool = climits.ProcessPoolExecutor(2, "64M")
print(pool.submit(pid).result(), flush=True)
pool.submit(forever); pool.submit(forever).result()
"""
    parent = script(tmp_path, text)
    worker = int(parent.stdout.readline())
    until(lambda: len(our_cgroups()) >= 2)
    parent.kill()
    parent.wait()
    until(lambda: not os.path.exists(f"/proc/{worker}"))
    until(lambda: our_cgroups() == [])


@of_python
def test_a_main_module_without_a_guard(tmp_path):
    text = """
with climits.ProcessPoolExecutor(1, "64M") as pool:
    print(pool.submit(work, 3).result())
"""
    out, err = script(tmp_path, text, guarded=False).communicate(timeout=60 * PATIENCE)
    assert out == "" and "__name__ == '__main__'" in err
    assert our_cgroups() == []


@of_python
def test_ctrl_c(tmp_path):
    text = """
pool = climits.ProcessPoolExecutor(2, "64M")
with pool:
    future = pool.submit(forever)
    print(pool.submit(pid).result(), flush=True)
    future.result()
"""
    parent = script(tmp_path, text, start_new_session=True)
    parent.stdout.readline()
    os.killpg(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=60 * PATIENCE)
    assert parent.returncode == -signal.SIGINT
    assert err.count("KeyboardInterrupt\n") >= 1
    assert our_cgroups() == []


@of_python
def test_functions_of_a_prompt(tmp_path):
    """What stands in no file goes by value, where cloudpickle is there."""
    text = "import climits\ndef f(x): return x + 1\n" + (
        "with climits.ProcessPoolExecutor(1, '64M') as p: print(p.submit(f, 1).result())\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, timeout=60
    )
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        assert "install cloudpickle" in done.stderr or "cannot be sent" in done.stderr
    else:
        assert done.stdout == "2\n"


def test_long_arguments_that_were_given_out_and_taken_back(tmp_path):
    """What lay in shared memory for a worker that never read it goes to another."""
    go = tmp_path / "go"
    data = bytes(200_000)
    with ProcessPoolExecutor(2, LIMIT) as pool:
        list(pool.map(square, range(300)))
        slow = pool.submit(wait_for, str(go))
        futures = [pool.submit(same, Buffered(bytearray(data))) for _ in range(20)]
        futures += [pool.submit(same, data) for _ in range(20)]
        assert [len(getattr(f.result(), "data", data)) for f in futures] == [len(data)] * 40
        go.touch()
        slow.result()
        assert all(pool.submit(same, data).result() == data for _ in range(4))


@of_python
def test_very_long_results_do_not_overtake_one_another():
    data = os.urandom(1 << 16) * 96  # 6 MiB: more than is kept
    with ProcessPoolExecutor(2, "256M") as pool:
        futures = [pool.submit(same, data) for _ in range(20)]
        assert all(f.result() == data for f in futures)


def test_a_timeout_is_kept_by_a_pool_that_was_idle(pool):
    pool.submit(pid).result()
    time.sleep(0.1)
    with pytest.raises(TimeoutError):
        pool.submit(climits.task(nap, timeout=0.2 * PATIENCE), 1000).result(60 * PATIENCE)


@of_python
@pytest.mark.parametrize("how", ["return", "raise", "exit"])
def test_a_fork_that_comes_back_is_not_the_task(pool, how):
    mine = pool.submit(fork_and, how)
    assert mine.result() == "parent"
    assert [f.result() for f in [pool.submit(square, n) for n in range(10)]] == [
        n * n for n in range(10)
    ]


def test_a_limit_too_small_for_one_task_spares_the_others(pool):
    small = pool.submit(climits.task(pid, memory="1M"))
    others = [pool.submit(square, n) for n in range(10)]
    assert isinstance(small.exception(), (MemoryError, OSError))
    assert [f.result() for f in others] == [n * n for n in range(10)]
    assert pool.submit(square, 7).result() == 49


def test_a_worker_that_dies_idle_is_replaced(pool):
    first = pool.submit(pid).result()
    os.kill(first, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{first}"))
    assert pool.submit(pid).result() != first


def test_many_deaths_in_a_row(pool):
    greedy = [pool.submit(fill, 200) for _ in range(6 if IN_VM else 20)]
    others = [pool.submit(square, n) for n in range(20)]
    assert all(isinstance(f.exception(), OutOfMemoryError) for f in greedy)
    assert [f.result() for f in others] == [n * n for n in range(20)]


@of_python
def test_without_enough_descriptors_there_are_fewer_workers(tmp_path):
    text = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
with climits.ProcessPoolExecutor(20, "64M") as pool:
    print(sum(pool.map(work, range(100))))
"""
    assert script(tmp_path, text).communicate(timeout=60) == ("328350\n", "")


@of_python
def test_where_children_reap_themselves(tmp_path):
    text = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with climits.ProcessPoolExecutor(1, "64M") as pool:
    print(type(pool.submit(os._exit, 3).exception()).__name__, pool.submit(work, 3).result())
"""
    assert script(tmp_path, text).communicate(timeout=60) == ("WorkerDiedError 9\n", "")


@of_python
def test_a_package_that_is_run(tmp_path):
    """Workers cannot import its __main__: by value, or a clear word."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__main__.py").write_text(
        "import climits\ndef f(x): return x + 1\n"
        "with climits.ProcessPoolExecutor(1, '64M') as p: print(p.submit(f, 1).result())\n"
    )
    done = subprocess.run(
        [sys.executable, "app"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        assert "install cloudpickle" in done.stderr or "cannot be sent" in done.stderr
    else:
        assert done.stdout == "2\n", done.stderr


@of_python
def test_much_that_is_of_a_prompt():
    """So much that its names stand in the first of many parts."""
    pytest.importorskip("cloudpickle")
    text = (
        "import climits\nclass C:\n    def __init__(self, n): self.n = str(n) * 9\n"
        "many = [C(n) for n in range(20000)]\n"
        "with climits.ProcessPoolExecutor(1, '128M') as p: print(p.submit(len, many).result())\n"
    )
    done = subprocess.run(
        [sys.executable, "-"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.returncode) == ("20000\n", 0), done.stderr
