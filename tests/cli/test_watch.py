"""`climits watch` on real cgroups."""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, until

from climits.cgroup.group import Cgroup
from climits.cli import main
from climits.errors import CgroupGoneError, InvalidValueError
from climits.units import UNLIMITED

MIB = 1 << 20
EXAMPLE = Path(__file__).parents[2] / "examples" / "simple_app.py"


class Watch:
    """`climits watch` in a process of its own, and what it prints."""

    def __init__(self, climits, folder, *words, wait=True):
        self.files = folder / "watch.out", folder / "watch.err"
        with open(self.files[0], "wb") as out, open(self.files[1], "wb") as err:
            self.process = subprocess.Popen(
                [climits, "watch", *map(str, words)], stdin=subprocess.DEVNULL, stdout=out,
                stderr=err,
            )  # fmt: skip
        if wait:  # the first look is taken when everything is armed
            until(lambda: self.is_armed() or self.process.poll() is not None)

    def is_armed(self):
        """Watching for the removal is the last thing that it prepares."""
        folder = f"/proc/{self.process.pid}/fd"
        try:
            return any(os.readlink(f"{folder}/{fd}") == "anon_inode:inotify"
                       for fd in os.listdir(folder))  # fmt: skip
        except (FileNotFoundError, ProcessLookupError):
            return False

    @property
    def out(self):
        return self.files[0].read_text()

    @property
    def err(self):
        return self.files[1].read_text()

    def events(self):
        return [json.loads(line) for line in self.out.splitlines() if line.endswith("}")]

    def kinds(self):
        return [event["kind"] for event in self.events()]

    def end(self):
        return self.process.wait(60 * PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def group():
    group = Cgroup.create("climits-watched", memory="64M")
    yield group
    if not group.memory.directory.is_gone():
        group.kill()
        group.remove()
    group.close()


def start_in(group, *words):
    """Start a program and move it into a cgroup before it does anything."""
    child = subprocess.Popen(
        ["sh", "-c", 'read go; exec "$@"', "sh", *map(str, words)], stdin=subprocess.PIPE
    )
    group.attach(child.pid)
    child.stdin.write(b"\n")
    child.stdin.close()
    return child


# ---- the case from the field ---------------------------------------------------------------------

POLITE = """
import runpy, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("saved", flush=True), sys.exit(0)))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.timeout(60 * PATIENCE)
def test_a_program_that_grows_is_asked_to_end_before_it_is_killed(climits, tmp_path):
    result = tmp_path / "result.json"
    words = [sys.executable, "-c", POLITE, str(EXAMPLE), "--interval", str(0.05 * PATIENCE)]
    with open(tmp_path / "app.out", "wb") as out:
        run = subprocess.Popen(
            [climits, "run", "--memory", "64M", "--name", "climits-field", "--json", result, "--",
             *words],
            stdout=out, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        until(lambda: "holding" in (tmp_path / "app.out").read_text())
        with Watch(
            climits, tmp_path, "climits-field", "--threshold", "32M", "--signal", "TERM", "--json"
        ) as watch:
            assert watch.end() == 0
            assert watch.kinds() == ["threshold", "removed"]
            event = watch.events()[0]
            assert 32 * MIB <= event["current"] <= 64 * MIB
            assert (event["level"], event["limit"]) == (32 * MIB, 64 * MIB)
            assert event["cgroup"] == "/climits/climits-field"
            assert watch.err == "climits: sent SIGTERM\n"
        assert run.wait(60 * PATIENCE) == 0
    finally:
        run.kill()
        run.wait()
    assert (tmp_path / "app.out").read_text().endswith("saved\n")
    told = json.loads(result.read_text())
    assert (told["verdict"], told["returncode"], told["oom_kill"]) == ("exited", 0, 0)


# ---- what is told --------------------------------------------------------------------------------


def test_events_are_lines_for_people(climits, tmp_path, group, hog):
    with Watch(climits, tmp_path, group.path, "--threshold", "20M", "--empty") as watch:
        until(lambda: "empty" in watch.out)
        child = start_in(group, hog, "alloc", "30", "hold", "100000")
        until(lambda: "threshold" in watch.out)
        child.kill()
        child.wait()
        until(lambda: watch.out.count("empty") == 2)
        group.remove()
        assert watch.end() == 0
    lines = [line.split(" ", 2)[2] for line in watch.out.splitlines()]
    assert lines[0].startswith(f"{group.path}: empty: ") and lines[0].endswith("limit 64.0M")
    assert lines[1].startswith(f"{group.path}: threshold: ")
    assert lines[1].endswith("M in use, level 20.0M, limit 64.0M")
    assert lines[-1] == f"{group.path}: removed"
    assert watch.err == ""


def test_oom_kills_are_told_as_json(climits, tmp_path, group, hog):
    with Watch(climits, tmp_path, group.path, "--oom", "--json") as watch:
        child = start_in(group, hog, "child", "alloc", "80", "end", "hold", "100000")
        until(lambda: watch.kinds() == ["oom"])
        group.kill()
        child.wait()
    [event] = watch.events()
    assert (event["count"], event["limit"]) == (1, 64 * MIB)
    assert event["trigger"] == {"source": "oom"}
    assert set(event) == {"kind", "cgroup", "time", "count", "limit", "trigger", "current"}


def test_a_process_stands_for_its_cgroup(climits, tmp_path, group, hog):
    child = start_in(group, hog, "hold", "100000")
    with Watch(climits, tmp_path, child.pid, "--populated", "--json") as watch:
        until(lambda: watch.kinds() == ["populated"])
    assert watch.events()[0]["cgroup"] == group.path
    group.kill()
    child.wait()


def test_a_cgroup_that_is_not_ours(climits, tmp_path, layout, hog):
    mount = layout.holding("memory").mount_point
    directory = Path(mount, "climits-foreign")
    directory.mkdir()  # nobody's mark is on it
    try:
        with Watch(climits, tmp_path, directory, "--empty", "--json") as watch:
            until(lambda: watch.kinds() == ["empty"])
            directory.rmdir()
            assert watch.end() == 0
            assert watch.kinds() == ["empty", "removed"]
    finally:
        if directory.exists():
            directory.rmdir()


def test_once_ends_after_the_first_event(climits, tmp_path, group):
    with Watch(climits, tmp_path, "--json", "--once", group.path, "--empty", wait=False) as watch:
        assert watch.end() == 0
    assert watch.kinds() == ["empty"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_ends_when_it_is_asked_to(climits, tmp_path, group, number):
    with Watch(climits, tmp_path, group.path, "--oom") as watch:
        watch.process.send_signal(number)
        assert watch.end() == 0
    assert (watch.out, watch.err) == ("", "")


# ---- what is done --------------------------------------------------------------------------------


def test_a_command_gets_the_event(climits, tmp_path, group):
    out = tmp_path / "event"
    command = f"sh -c 'cat > {out}; echo $CLIMITS_EVENT $CLIMITS_LIMIT >> {out}; echo done'"
    words = [group.path, "--empty", "--once", "--json", "--exec", command]
    with Watch(climits, tmp_path, *words, wait=False) as watch:
        assert watch.end() == 0
    given, told = out.read_text().splitlines()
    assert [json.loads(given)] == watch.events()
    assert told == f"empty {64 * MIB}"
    assert watch.err.startswith("climits: started sh (pid ")
    assert watch.err.endswith("done\n")


def test_a_signal_goes_to_every_process_of_the_cgroup(climits, tmp_path, group, hog):
    below = Path(group.memory.directory.path, "climits-below")
    below.mkdir()
    children = [start_in(group, hog, "hold", "100000") for _ in range(2)]
    other = start_in(group, hog, "hold", "100000")
    for part in group.parts:
        Path(part.directory.path, "climits-below").mkdir(exist_ok=True)
        Path(part.directory.path, "climits-below", "cgroup.procs").write_text(str(other.pid))
    words = [group.path, "--populated", "--once", "--signal", "usr1"]
    with Watch(climits, tmp_path, *words, wait=False) as watch:
        assert watch.end() == 0
    assert [child.wait() for child in (*children, other)] == [-signal.SIGUSR1] * 3
    assert watch.err == "climits: sent SIGUSR1\n"


def test_freeze(climits, tmp_path, group, hog):
    child = start_in(group, hog, "hold", "100000")
    words = [group.path, "--populated", "--once", "--freeze"]
    with Watch(climits, tmp_path, *words, wait=False) as watch:
        assert watch.end() == 0
    until(group.freezer.is_frozen)
    assert watch.err == f"climits: freezing {group.path}\n"
    group.thaw()
    group.kill()
    child.wait()


def test_grow_raises_the_limit_as_often_as_it_must_and_no_further(climits, tmp_path, group, hog):
    words = [group.path, "--threshold", "60%", "--grow", "1.5", "--grow-max", "120M", "--json"]
    with Watch(climits, tmp_path, *words) as watch:
        child = start_in(group, hog, "grow", "100", str(int(20 * PATIENCE)), "hold", "100000")
        until(lambda: group.memory.max == 120 * MIB)
        until(lambda: len(watch.kinds()) == 3)
        assert group.memory.events().oom_kill == 0
        group.kill()
        child.wait()
        group.remove()
        assert watch.end() == 0
        assert watch.kinds() == ["threshold", "threshold", "threshold", "removed"]
    lines = watch.err.splitlines()
    assert lines[:2] == [
        "climits: raised the limit from 64.0M to 96.0M",
        "climits: raised the limit from 96.0M to 120.0M",
    ]
    assert lines[2:] == ["climits: the limit was not raised: 120.0M is as far as it may grow"]


def test_grow_of_what_has_no_limit_is_told(climits, tmp_path, group):
    group.memory.max = UNLIMITED
    words = [group.path, "--empty", "--once", "--grow", "2", "--grow-max", "1G"]
    with Watch(climits, tmp_path, *words, wait=False) as watch:
        assert watch.end() == 0
    assert watch.err == f"climits: the limit was not raised: {group.path} has none\n"
    assert group.memory.max == UNLIMITED


def test_reclaim(climits, tmp_path, hog):
    # Page cache can go back to its file; in the VM files are in memory, but there is swap.
    file = tmp_path / "big"
    fill = f"exec {hog} alloc 30" if IN_VM else f"{hog} file {file} 30; sync {file}; exec {hog}"
    with Cgroup.create("climits-reclaimed", memory="64M", swap="max") as group:
        child = start_in(group, "sh", "-c", f"{fill} hold 100000")
        until(lambda: group.memory.current() > 28 * MIB)
        words = [group.path, "--populated", "--once", "--reclaim", "40M"]
        with Watch(climits, tmp_path, *words, wait=False) as watch:
            assert watch.end() == 0
        until(lambda: group.memory.current() < 15 * MIB)
        assert watch.err.splitlines()[0] == "climits: reclaiming 40.0M"
        group.kill()
        child.wait()


def test_a_webhook_is_posted(climits, tmp_path, group):
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/hook"
    words = [group.path, "--empty", "--once", "--json", "--webhook", url]
    try:
        with Watch(climits, tmp_path, *words, wait=False) as watch:
            assert watch.end() == 0
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert bodies == watch.events()
    assert watch.err == f"climits: posting to {url}\n"


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        ([], InvalidValueError, "no cgroup was given"),
        (["web"], InvalidValueError, "nothing to watch for"),
        (["web", "other", "--oom"], InvalidValueError, "watch takes one cgroup: other"),
        (["web", "--signal", "TERM"], InvalidValueError, "nothing to watch for"),
        (["web", "--oom", "--hysteresis", "1M"], InvalidValueError, "hysteresis goes with"),
        (["web", "--threshold", "x"], InvalidValueError, "level: x: not a size"),
        (["web", "--oom", "--signal", "X"], InvalidValueError, "signal: X: no such signal"),
        (["web", "--oom", "--grow", "2"], InvalidValueError, "grow_max: missing"),
        (
            ["--signal", "1", "web", "--oom", "--signal", "2"],
            InvalidValueError,
            "--signal is given",
        ),
        (["climits-no-such", "--oom"], CgroupGoneError, "no such cgroup: /climits/climits-no-such"),
        (["/climits-no-such", "--oom"], CgroupGoneError, "no such cgroup: /climits-no-such"),
        (["4194999", "--oom"], CgroupGoneError, "no such process: 4194999"),
        (["a..b/../c", "--oom"], InvalidValueError, "cgroup: 'a..b/../c': not a cgroup path"),
        (["/", "--oom", "--signal", "TERM"], InvalidValueError, "signal and freeze would reach"),
        (["/", "--oom", "--freeze"], InvalidValueError, "signal and freeze would reach"),
    ],
)
def test_what_means_nothing_is_refused(words, error, text):
    with pytest.raises(error) as caught:
        main.dispatch(["watch", *words])
    assert str(caught.value).startswith(text)


def test_what_this_host_cannot_watch_is_refused_by_name(climits, tmp_path, group):
    group.memory.max = UNLIMITED
    with Watch(climits, tmp_path, group.path, "--threshold", "80%", wait=False) as watch:
        assert watch.end() == 125
    assert watch.err == (
        f"climits: threshold=80%: {group.path} has no memory limit to take a share of; "
        "hint: give a size, like 32M, or set a limit first\n"
    )


def test_it_does_not_freeze_itself(climits, group, capfd):
    child = start_in(group, climits, "watch", group.path, "--oom", "--freeze")
    assert child.wait() == 125
    assert capfd.readouterr().err == (
        f"climits: freeze would stop this command too: it runs in {group.path}; "
        "hint: run it from another cgroup\n"
    )
