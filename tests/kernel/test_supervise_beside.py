"""What runs in a thread beside a supervisor, on a real kernel."""

import os
import threading

import pytest
from support import our_cgroups

from climits.errors import ClimitsError
from climits.supervise.beside import Beside
from climits.supervise.config import ProgramConfig
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
        client, waiting = connect(), connect()
        for event in client.events(follow=True):
            if event["event"] == "started":
                client.shut_down()
                break
        ended = next(e for e in client.events(follow=True) if e["event"] == "stopped")
        asked.set()
        try:
            waiting.status()
            waiting.status()
            while True:
                waiting.status()
        except ClimitsError:
            return ended["program"]

    one = Thread(work)
    supervisor(hog, [one]).run()
    assert asked.is_set() and one.outcome == "web"
    with pytest.raises(ClimitsError, match="has ended"):
        one.connect()


def test_what_cannot_begin_lets_no_program_start(hog, tmp_path):
    refuses, other = Refuses(), Thread(lambda connect: None)
    path = str(tmp_path / "socket")
    s = supervisor(hog, [refuses, other], socket=path)
    with pytest.raises(ClimitsError, match="in use"):
        s.run()
    assert s.events == [] and refuses.ended and other.ended and not other.begun
    assert not os.path.exists(path) and our_cgroups() == []
