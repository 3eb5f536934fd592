"""What map gathers of one chunk, between the thread that tells and the one that waits."""

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError

import pytest

from climits.pool.executor import _results
from climits.pool.work import Part


def told(do, *args):
    thread = threading.Thread(target=do, args=args)
    thread.start()
    return thread


def test_a_result_that_is_there():
    part = Part()
    assert part.set_running_or_notify_cancel()
    part.set_result([1, 2])
    assert part.result() == [1, 2]
    assert part.result(0) == [1, 2]


def test_nothing_is_a_result_too():
    part = Part()
    part.set_result(None)
    assert part.result(0) is None


def test_an_error_is_raised():
    part = Part()
    part.set_exception(KeyError("x"))
    with pytest.raises(KeyError, match="x"):
        part.result()


@pytest.mark.parametrize("timeout", [0, 0.01])
def test_a_result_that_is_late(timeout):
    part = Part()
    with pytest.raises(TimeoutError):
        part.result(timeout)
    part.set_result(3)
    assert part.result(timeout) == 3


@pytest.mark.parametrize("timeout", [None, 60])
def test_who_waits_is_woken(timeout):
    part, got = Part(), []
    thread = told(lambda: got.append(part.result(timeout)))
    time.sleep(0.02)
    part.set_result(5)
    thread.join(30)
    assert got == [5]


def test_who_waits_is_woken_by_an_error():
    part, got = Part(), []

    def wait():
        try:
            part.result()
        except CancelledError as e:
            got.append(e)

    thread = told(wait)
    time.sleep(0.02)
    part.cancel()
    thread.join(30)
    assert len(got) == 1


def test_what_was_cancelled_does_not_run():
    part = Part()
    part.cancel()
    assert not part.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        part.result()


def test_what_runs_is_not_cancelled():
    part = Part()
    assert part.set_running_or_notify_cancel()
    part.cancel()
    part.set_result(1)
    assert part.result() == 1


def test_one_of_two_has_it():
    for _ in range(300):
        part, gate, runs = Part(), threading.Barrier(2), []

        def run(part=part, gate=gate, runs=runs):
            gate.wait()
            runs.append(part.set_running_or_notify_cancel())

        thread = told(run)
        gate.wait()
        part.cancel()
        thread.join()
        assert runs == [not part._done]  # it runs, or it was cancelled, and never both


def test_no_wake_up_is_lost():
    parts = [Part() for _ in range(20_000)]

    def tell():
        for i, part in enumerate(parts):
            part.set_result(i)

    thread = told(tell)
    assert [part.result(60) for part in parts] == list(range(len(parts)))
    thread.join()


def test_what_is_late_is_cancelled_with_the_rest():
    parts = [Part(), Part(), Part()]
    parts[0].set_running_or_notify_cancel()
    parts[0].set_result([1])
    results = _results(list(parts), time.monotonic())
    assert next(results) == [1]
    with pytest.raises(TimeoutError):
        next(results)
    # Neither runs any more.
    assert [part.set_running_or_notify_cancel() for part in parts[1:]] == [False, False]
    assert list(results) == []


def test_an_error_keeps_nothing_alive():
    class Told(Exception):
        """An error that can be watched."""

    def failed():
        part = Part()
        part.set_running_or_notify_cancel()
        part.set_exception(Told())
        return [part]

    gc.disable()  # a cycle would keep it until the next collection
    try:
        try:
            next(_results(failed(), None))
        except Told as e:
            error = weakref.ref(e)
        assert error() is None
    finally:
        gc.enable()
