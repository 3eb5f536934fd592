"""climits stats and climits find, as people and programs read them."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios

import pytest
from support import PATIENCE, until

from climits.cgroup import files
from climits.cgroup.group import Cgroup
from climits.cgroup.layout import current
from climits.cli import stats as cli_stats
from climits.cli.main import dispatch
from climits.errors import CgroupGoneError, InvalidValueError
from climits.linux import proc

pytestmark = pytest.mark.timeout(90 * PATIENCE)
ID = "3f4e1a09c2d7" + "0123456789abcdef" * 3 + "0123"
OTHER = "3f4e1b" + "fedcba9876543210" * 3 + "fedcba9876"


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(cli_stats, "_APART", 0.05)
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def web():
    """A cgroup with a limit and one process: `sleep`."""
    group = Cgroup.create("climits-web", memory="64M", swap=0)
    child = subprocess.Popen(["sh", "-c", "read go; exec sleep 60"], stdin=subprocess.PIPE)
    try:
        group.attach(child.pid)
        child.stdin.write(b"\n")
        child.stdin.close()
        until(lambda: proc.command_name(child.pid) == "sleep")
        group.child = child.pid
        yield group
    finally:
        child.kill()
        child.wait()
        group.kill()
        group.remove()
        group.close()


@pytest.fixture
def three():
    """Three empty cgroups."""
    made = [Cgroup.create(f"climits-{n}", memory="8M", swap=0) for n in range(3)]
    yield made
    for group in made:
        group.remove()
        group.close()


@pytest.fixture
def containers():
    """Two containers whose ids begin alike, as docker would make them below a parent of ours."""
    memory = current().holding("memory")
    top = memory.directory_path("/climits-batch")
    paths = [top, f"{top}/{ID}", f"{top}/docker-{OTHER}.scope"]
    for path in paths:
        files.make(path)
    yield [f"/climits-batch/{ID}", f"/climits-batch/docker-{OTHER}.scope"]
    for path in reversed(paths):
        files.remove(path)


def show(capfd, *words):
    assert dispatch([str(word) for word in words]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


# ---- stats ---------------------------------------------------------------------------------


def test_the_table_has_the_cgroup(web, capfd):
    heading, *rows = show(capfd, "stats").splitlines()
    columns = "NAME OWNER MEMORY LIMIT % ANON FILE KERNEL SHMEM SWAP PEAK HITS OOM PSI% CPU% PIDS"
    assert " ".join(heading.split()) == columns
    (row,) = [row.split() for row in rows if row.startswith("climits-web ")]
    assert row[1] == "climits" and row[3] == "64M" and row[-1] == "1"
    assert 0 < float(row[4]) < 100


@pytest.mark.parametrize("columns", [40, 80, 100, 132, 200])
def test_the_table_fits_the_terminal(web, capfd, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = show(capfd, "stats", "--all").splitlines()
    assert max(map(len, lines)) <= columns
    assert {"NAME", "MEMORY", "LIMIT", "%"} <= set(lines[0].split())
    assert columns < 80 or "CPU%" in lines[0]


def test_words_name_one_cgroup_in_many_ways(web, capfd):
    words = ("climits-web", web.path, web.child, f"pid:{web.child}", web.path.lstrip("/"))
    for word in words:
        _, *rows = show(capfd, "stats", word).splitlines()
        assert [row.split()[0] for row in rows] == ["climits-web"]
    assert len(show(capfd, "stats", *words).splitlines()) == 2


def test_json_is_an_object_a_line(web, capfd):
    (line,) = show(capfd, "stats", "climits-web", "--json").splitlines()
    facts = json.loads(line)
    assert facts["path"] == web.path
    assert (facts["runtime"], facts["name"]) == ("climits", "climits-web")
    assert facts["max"] == 64 << 20 and facts["pids"] == 1 and facts["oom_kill"] == 0
    assert facts["current"] > 0 and 0 < facts["memory_percent"] < 100
    assert "explained" not in facts and "time" not in facts


def test_a_container_is_taken_by_its_short_id(containers, capfd):
    facts = json.loads(show(capfd, "stats", ID[:12], "--json"))
    assert (facts["path"], facts["runtime"], facts["id"]) == (containers[0], "docker", ID)


def test_an_id_that_matches_two_is_refused_and_both_are_told(containers, capfd):
    with pytest.raises(InvalidValueError) as caught:
        dispatch(["stats", "3f4e1"])
    assert ID[:20] in str(caught.value) and OTHER[:20] in str(caught.value)
    assert "more of the id" in caught.value.hint
    assert capfd.readouterr().out == ""


def test_explain_takes_the_usage_apart(web, capfd):
    text = show(capfd, "stats", "climits-web", "--explain")
    assert text.startswith(f"{web.path} (climits climits-web)\n")
    for word in ("64M  limit", "charged", "anon", "kernel", "RES of 1 process ="):
        assert word in text
    facts = json.loads(show(capfd, "stats", "climits-web", "--explain", "--json"))
    assert facts["processes"] == 1 and facts["resident"] > 0
    assert facts["current"] - facts["rest"] >= 0


@pytest.mark.parametrize(
    ("words", "error", "text"),
    [
        (["nothing-here"], CgroupGoneError, "no cgroup, container, unit or process is called"),
        (["999999999"], CgroupGoneError, "no cgroup, container, unit or process is called"),
        (["/nothing/here"], CgroupGoneError, "no such cgroup: /nothing/here"),
        (["pid:4194399"], CgroupGoneError, "no such process"),
        (["pid:x"], InvalidValueError, "not a process"),
        (["../x"], InvalidValueError, "not a cgroup path"),
        (["--explain"], InvalidValueError, "explain takes named cgroups"),
        (["--explain", "--watch", "x"], InvalidValueError, "explain takes named cgroups"),
        (["--all", "x"], InvalidValueError, "all goes without names: x"),
        ([""], InvalidValueError, "no cgroup is named so"),
    ],
)
def test_a_word_that_means_nothing_is_one_clear_error(words, error, text):
    with pytest.raises(error, match=text) as caught:
        dispatch(["stats", *words])
    assert "\n" not in str(caught.value)


def test_what_may_not_be_read_is_counted(web, capfd, three):
    closed = three
    for group in closed:
        for part in group.parts:
            os.chmod(part.directory.path, 0o700)
    # A child of ours: an ordinary user may not be able to read the directory of the script.
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgid(65534)
            os.setuid(65534)
            status = dispatch(["stats", "--json", "--all"])
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    out, err = capfd.readouterr()
    assert err == "climits: 3 cgroups could not be read: permission denied\n"
    paths = [json.loads(line)["path"] for line in out.splitlines()]
    assert web.path in paths and closed[0].path not in paths


# ---- watching ------------------------------------------------------------------------------


def test_watching_into_a_pipe_prints_blocks_until_it_is_ended(web, climits):
    child = subprocess.Popen(
        [climits, "stats", "climits-web", "--watch"], stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [child.stdout.readline() for _ in range(5)]
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
        child.stdout.close()
    assert lines[0] == lines[3] and lines[0].startswith("NAME")
    assert lines[1].startswith("climits-web ") and lines[4].startswith("climits-web ")
    assert lines[2] == "\n"


def test_watching_json_has_the_time(web, climits):
    child = subprocess.Popen(
        [climits, "stats", "climits-web", "--watch", "--json"], stdout=subprocess.PIPE, text=True
    )
    try:
        one, two = (json.loads(child.stdout.readline()) for _ in range(2))
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()
        child.stdout.close()
    assert two["time"] > one["time"] > 1e9
    assert one["path"] == two["path"] == web.path


def test_watching_ends_when_the_cgroup_does(web, climits):
    other = Cgroup.create("climits-brief", parent="/climits")
    child = subprocess.Popen(
        [climits, "stats", "climits-brief", "--watch"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline().startswith("NAME")
        other.remove()
        _, err = child.communicate(timeout=60 * PATIENCE)
    finally:
        child.kill()
        other.remove()
        other.close()
    assert child.returncode == 125
    assert err == "climits: the cgroup was removed: /climits/climits-brief\n"


def test_on_a_terminal_it_stays_in_place(three, climits):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 80, 0, 0))
    child = subprocess.Popen(
        [climits, "stats", "--all", "--watch"], stdout=slave, stdin=slave, stderr=slave,
        env={name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")},
    )  # fmt: skip
    os.close(slave)
    data = b""
    try:
        while data.count(b"\x1b[H") < 2:
            assert select.select([master], [], [], 30 * PATIENCE)[0]
            data += os.read(master, 65536)
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()
        os.close(master)
    assert data.startswith(b"\x1b[2J\x1b[HNAME")
    screen = data.split(b"\x1b[H")[1].partition(b"\x1b[J")[0]
    lines = [line.replace(b"\x1b[K", b"") for line in screen.splitlines() if line]
    assert len(lines) <= 4 and max(map(len, lines)) <= 80
    assert lines[-1].endswith(b"more")


# ---- find ----------------------------------------------------------------------------------


def test_find_tells_owner_and_directories(containers, capfd):
    memory = current().holding("memory")
    text = show(capfd, "find", ID[:12])
    lines = text.splitlines()
    assert lines[0].split() == ["runtime", "docker"]
    assert ["id", ID] in [line.split() for line in lines]
    assert lines[-2:] == [containers[0], f"  {memory.directory_path(containers[0])}"]
    facts = json.loads(show(capfd, "find", ID[:12], "--json"))
    assert facts["id"] == ID
    directories = [memory.directory_path(containers[0])]
    assert facts["cgroups"] == [{"path": containers[0], "directories": directories}]


def test_find_lists_both_of_two_and_fails(containers, climits):
    done = subprocess.run([climits, "find", "3f4e1"], capture_output=True, text=True)
    assert done.returncode == 125
    assert ID in done.stdout and OTHER in done.stdout
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("climits: '3f4e1' matches 2: docker ")
    assert "; hint: " in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [(["nothing-here"], "no container or unit here is called 'nothing-here'"),
     ([], "takes one id"), (["a", "b"], "takes one id"), ([""], "takes one id")],
)  # fmt: skip
def test_find_says_what_it_did_not_find(words, text):
    with pytest.raises((CgroupGoneError, InvalidValueError), match=text) as caught:
        dispatch(["find", *words])
    assert caught.value.hint
