"""What runs in a thread beside a supervisor, on a real kernel."""

import os
import resource
import threading

import pytest
from support import our_cgroups

from climits.errors import ClimitsError
from climits.supervise.beside import Beside
from climits.supervise.config import Config, ProgramConfig
from climits.supervise.policy import Policy
from climits.supervise.supervisor import Supervisor


class Thread(Beside):
    """Does something in a thread, and keeps what it gave or raised."""

    def __init__(self, work):
        self.work, self.begun, self.ended, self.outcome = work, False, False, None

    def begin(self, connect):
        self.begun, self.connect = True, connect
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            self.outcome = self.work(self.connect)
        except BaseException as e:
            self.outcome = e

    def end(self):
        self.ended = True
        if self.begun:
            self.thread.join()


class Refuses(Beside):
    def begin(self, connect):
        raise ClimitsError("port 1: in use", hint="choose another")

    def end(self):
        self.ended = True


def supervisor(hog, beside, **options):
    program = ProgramConfig(
        name="web", command=[hog, "hold", "60000"], options={"memory": "30M"}, policy=Policy()
    )
    events = []
    made = Supervisor([program], events.append, beside=beside, **options)
    made.events = events
    return made


@pytest.mark.parametrize("many", [True, False])
def test_it_sees_and_steers_as_any_client(hog, many):
    def work(connect):
        with connect() as client:
            names = []
            for event in client.events(follow=True):
                names.append(event["event"])
                if event["event"] == "started":
                    with connect() as other:
                        status = other.status()
                        limit = other.set_limit("web", "40M")
                        other.shut_down()
            return names, status, limit

    one = Thread(work)
    s = supervisor(hog, [one], many=many)
    s.run()
    names, status, limit = one.outcome
    assert names[0] == "started" and names[-1] == "stopped"
    assert [(p["program"], p["status"]) for p in status] == [("web", "running")]
    assert limit == {"program": "web", "memory_max": 40 << 20}
    assert one.ended and our_cgroups() == []


def test_it_cannot_hold_the_end_up(hog):
    """It waits for an answer when the supervisor ends: that is the answer."""
    asked = threading.Event()

    def work(connect):
        ended, waiting = None, connect()
        with connect() as client:
            for event in client.events(follow=True):
                if event["event"] == "started":
                    with connect() as other:
                        other.shut_down()
                elif event["event"] == "stopped":
                    ended = event
        asked.set()
        try:
            while True:
                waiting.status()
        except ClimitsError:
            return ended["program"]

    one = Thread(work)
    supervisor(hog, [one]).run()
    assert asked.is_set() and one.outcome == "web"
    with pytest.raises(ClimitsError, match="has ended"):
        one.connect()


def test_a_reload_takes_no_descriptors_away(hog):
    """A sampler beside it may have raised the limit, and opened as many."""
    seen = []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]

    def work(connect):
        with connect() as client:
            resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
            client.reload()
            seen.append(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
            client.shut_down()

    one = Thread(work)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    s = supervisor(hog, [one], many=True)
    config = Config(path="x", programs=[p.config for p in s.programs.values()])
    s._reload = lambda: config
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        s.open_files = (100, hard)
        s.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert one.outcome is None and seen == [4096]


def test_what_cannot_begin_lets_no_program_start(hog, tmp_path):
    refuses, other = Refuses(), Thread(lambda connect: None)
    path = str(tmp_path / "socket")
    s = supervisor(hog, [refuses, other], socket=path)
    with pytest.raises(ClimitsError, match="in use"):
        s.run()
    assert s.events == [] and refuses.ended and other.ended and not other.begun
    assert not os.path.exists(path) and our_cgroups() == []
