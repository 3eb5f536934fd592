"""A Dask cluster as climits uses it: what its workers offer, what is sent there, what comes back.

Memory is a resource of Dask's: each worker says how much it has for tasks, each task claims its
limit, and Dask starts a task where the limit fits beside what runs.
"""

import pickle
import threading
import uuid

from .. import __version__
from ..errors import ClimitsError, InvalidValueError, UnsupportedError, WorkerDiedError
from ..records import Record
from ..units import PAGE_SIZE, format_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    #: What came of a task: the answer, or why there is none.
    Done = Callable[["bytes | None", "BaseException | None"], None]

#: The name of the resource.
MEMORY = "memory"
#: Verdict of what was given up since the Dask workers that ran it died, one after the other.
LOST = "worker-lost"
#: Seconds for a scheduler to answer.
ANSWERS_IN = 10.0
_INSTALL = 'pip install "climits[dask]"'
_START = 'start each worker with --resources "memory=BYTES", of what its host has for tasks'


class Offer(Record):
    """What one Dask worker has.

    Attributes:
        address: of the worker.
        memory: bytes that its tasks may claim together; None: it does not say.
        threads: tasks that it runs at once at most.
    """

    address: str
    memory: "int | None"
    threads: int


class LostError(ClimitsError):
    """The connection to the scheduler is gone, and with it what was under way."""


def import_distributed() -> "Any":
    """The module.

    Raises:
        UnsupportedError: it is not installed.
    """
    try:
        import distributed
    except ImportError:
        raise UnsupportedError("dask is not installed", hint=_INSTALL) from None
    return distributed


def connect(address: str) -> "Any":
    """A client of the scheduler at an address.

    Args:
        address: such as tcp://scheduler:8786.

    Raises:
        UnsupportedError: Dask is not installed.
        InvalidValueError: not an address.
        ClimitsError: nobody answers there.
    """
    distributed = import_distributed()
    made: list[Any] = []

    def make() -> None:
        try:
            made.append(
                distributed.Client(
                    address, timeout=ANSWERS_IN, set_as_default=False, name="climits"
                )
            )
        except Exception as e:
            made.append(e)

    # In a thread: for one that takes the connection and then says nothing Dask waits for ever.
    thread = threading.Thread(target=make, name="climits-connect", daemon=True)
    thread.start()
    thread.join(ANSWERS_IN + 1)
    client = made[0] if made else TimeoutError()
    if isinstance(client, ValueError):
        raise InvalidValueError(
            f"dask: {address}: not an address: {client}",
            value=address,
            hint="write tcp://HOST:8786",
        ) from None
    if isinstance(client, Exception):
        raise ClimitsError(
            f"the dask scheduler does not answer: {address}: {_why(client)}",
            path=address,
            hint="is it running, and is this its address? it is told where it was started",
        ) from client
    return client


def _why(error: BaseException) -> str:
    import os

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno).lower()
        cause = cause.__cause__
    return f"nothing came within {ANSWERS_IN:g}s"


class Cluster:
    """The workers behind a client.

    Attributes:
        client: a distributed.Client.
        cpus: CPUs of the largest host, as far as the hosts were asked; 0: none was.
    """

    def __init__(self, client: "Any") -> None:
        """Ask every worker that is there whether it can do what will be wanted.

        Args:
            client: one whose event loop runs in a thread of its own.

        Raises:
            UnsupportedError: a worker has no climits, has another version, or cannot limit memory;
                or none says how much memory it has.
            InvalidValueError: the client is of no use here.
            ClimitsError: the scheduler is gone.
        """
        if client.asynchronous:
            raise InvalidValueError(
                "an asynchronous client cannot be used here", hint="make it without asynchronous"
            )
        self.client = client
        self.cpus = 0
        self._largest: int | None = None
        if self._look():
            self._check_workers()

    # -- what there is -----------------------------------------------------------------------

    def offers(self) -> list[Offer]:
        """What the workers have, now.

        Raises:
            ClimitsError: the scheduler is gone.
        """
        try:
            workers = self.client.scheduler_info(n_workers=-1)["workers"]
        except Exception as e:
            raise _lost(self.client, e) from e
        found = []
        for address, facts in workers.items():
            memory = (facts.get("resources") or {}).get(MEMORY)
            memory = None if memory is None else int(memory)
            found.append(Offer(address=address, memory=memory, threads=facts["nthreads"]))
        return found

    def _look(self) -> list[Offer]:
        """Refresh what is known of the largest worker; no worker at all is no error."""
        offers = self.offers()
        sizes = [offer.memory for offer in offers if offer.memory is not None]
        if offers and not sizes:
            raise UnsupportedError("no dask worker says how much memory it has", hint=_START)
        self._largest = max(sizes, default=None)
        return offers

    def largest(self) -> "int | None":
        """What the largest worker has, bytes; None: there is no worker now."""
        self._look()
        return self._largest

    def share(self) -> "int | None":
        """What each task may have when a worker runs as many as it can, bytes; None: no worker.

        It is the least of all workers'.
        """
        shares = [o.memory // max(o.threads, 1) for o in self.offers() if o.memory is not None]
        return max(min(shares) // PAGE_SIZE * PAGE_SIZE, PAGE_SIZE) if shares else None

    def check_fits(self, sizes: "Iterable[int | float]") -> None:
        """Refuse what would wait for ever; without any worker nobody can tell.

        Raises:
            InvalidValueError: no worker is as large.
            UnsupportedError: none says how large it is.
        """
        most = max(sizes)
        if self._largest is not None and most <= self._largest:
            return
        self._look()
        if most == float("inf"):
            raise InvalidValueError(
                "memory: max: dask finds a place for a task by its limit",
                value=most,
                hint="name a size",
            )
        if self._largest is not None and most > self._largest:
            raise InvalidValueError(
                f"memory: a limit of {format_size(most)} fits no dask worker: the largest has "
                f"{format_size(self._largest)}",
                value=most,
                hint='lower the limit, or start a worker with more --resources "memory=BYTES"',
            )

    def _check_workers(self) -> None:
        found = self.run(_make_probe(__version__))
        bad = {address: told for address, told in found.items() if not isinstance(told, int)}
        for address, told in bad.items():
            more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
            text, hint = told if isinstance(told, tuple) else (str(told), None)
            raise UnsupportedError(f"dask worker {address}: {text}{more}", path=address, hint=hint)
        self.cpus = max(found.values(), default=0)

    def run(self, function: "Callable[..., Any]", *args: "Any") -> "dict[str, Any]":
        """Have a function called by each worker at once, whatever it is doing.

        Returns:
            {address: what it returned, or the error}; a worker that has gone meanwhile is left out.

        Raises:
            ClimitsError: the scheduler is gone.
        """
        try:
            told = self.client.run(function, *args, on_error="return")
        except Exception as e:
            raise _lost(self.client, e) from e
        return {a: t for a, t in told.items() if not isinstance(t, OSError)}

    # -- tasks -------------------------------------------------------------------------------

    def submit(
        self, data: bytes, memory: int, name: str, done: "Done", *, is_job: bool = False
    ) -> "Task":
        """Have a function called by a worker that has the memory.

        Args:
            data: for dask_worker.run_call, or dask_job.run_job.
            memory: what it claims, bytes.
            name: of what it is, for Dask's dashboard.
            done: called once with what came of it, in the thread of the client's event loop; never
                when it was cancelled.
            is_job: which of them.

        Raises:
            ClimitsError: the client is closed.
        """
        key = f"{name}-{uuid.uuid4().hex}"
        try:
            future = self.client.submit(
                _make_entry(is_job), data, key=key, pure=False, resources={MEMORY: memory}
            )
        except Exception as e:
            raise _lost(self.client, e) from e
        task = Task(key, future, done)
        self.client.loop.add_callback(self._follow, task)
        return task

    async def _follow(self, task: "Task") -> None:
        answer = error = None
        try:
            answer = await self.client.gather(task.future, asynchronous=True)
            if isinstance(answer, str):
                raise UnsupportedError(answer, hint=f"{_INSTALL} on each host")
        except BaseException as e:
            answer, error = None, e
        task.finish(answer, error)

    def cancel(self, tasks: "Iterable[Task]") -> None:
        """Have tasks ended, those that run too; nothing is told of them any more."""
        futures = [future for task in tasks if (future := task.drop()) is not None]
        if futures and self.client.status == "running":
            try:
                self.client.cancel(futures, force=True)
            except Exception:
                pass  # the scheduler has gone, and lets its workers end what it had given them


class Task:
    """Something that was sent to the cluster.

    Attributes:
        key: what Dask calls it.
        future: of Dask; None once it has ended: what refers to it keeps its result on the cluster.
    """

    def __init__(self, key: str, future: "Any", done: "Done") -> None:
        self.key, self.future = key, future
        self._done: Done | None = done
        self._lock = threading.Lock()

    def finish(self, answer: "bytes | None", error: "BaseException | None") -> None:
        """Tell what came of it, unless nobody wants to know any more."""
        with self._lock:
            done, self._done, self.future = self._done, None, None
        if done is not None:
            done(answer, error)

    def drop(self) -> "Any":
        """Nobody wants to know any more.

        Returns:
            The future of Dask; None: it has ended already.
        """
        with self._lock:
            future, self.future, self._done = self.future, None, None
        return future


def _make_probe(version: str) -> "Callable[[], Any]":
    """A function that goes to workers as code, since climits may not be there."""

    def probe() -> "Any":
        try:
            import climits
        except ImportError as e:
            return f"climits cannot be imported there: {e}", f"{install} on each host"
        if climits.__version__ != version:
            text = f"climits {climits.__version__} is there, and {version} here"
            return text, f'pip install "climits[dask]=={version}" on each host'
        from climits.batch.dask_worker import trial

        return trial()

    install = _INSTALL
    return probe


def _make_entry(is_job: bool) -> "Callable[[bytes], bytes | str]":
    """A function that goes to workers as code: one without climits could not even read its name."""

    def entry(data: bytes) -> "bytes | str":
        try:
            from climits.batch.dask_job import run_job
            from climits.batch.dask_worker import run_call
        except ImportError as e:
            from distributed import get_worker

            return f"dask worker {get_worker().address}: climits cannot be imported there: {e}"
        return run_job(data) if is_job else run_call(data)

    return entry


def error_of(error: BaseException, name: str, client: "Any") -> BaseException:
    """What Dask's own error means to us: those that a task has raised are told in its answer.

    Args:
        error: of a future of Dask.
        name: of what was run.
        client: whose it was.
    """
    if isinstance(error, ClimitsError):
        return error
    distributed = import_distributed()
    if isinstance(error, distributed.KilledWorker):
        died = WorkerDiedError(
            f"{name} was given up: {error.allowed_failures + 1} dask workers died with it",
            hint="see their logs; distributed.scheduler.allowed-failures says how many may",
        )
        died.task = name
        return died
    kinds = {base.__name__ for base in type(error).__mro__}
    if kinds & {"CancelledError", "FutureCancelledError", "FuturesCancelledError"}:
        return _lost(client, error)
    kind = type(error)
    failed = ClimitsError(
        f"dask could not run {name}: {kind.__module__}.{kind.__qualname__}: {error}"
    )
    failed.__cause__ = error
    return failed


def _lost(client: "Any", error: BaseException) -> LostError:
    if client.status in ("closed", "closing"):
        return LostError("the dask client was closed")
    address = getattr(getattr(client, "scheduler", None), "address", None)
    lost = LostError(f"the connection to the dask scheduler is lost: {address}", path=address)
    lost.__cause__ = error
    return lost


def pack(values: "dict[str, Any]") -> bytes:
    """What goes to a worker: as bytes Dask looks for nothing in it."""
    return pickle.dumps({"version": __version__, **values}, protocol=5)
