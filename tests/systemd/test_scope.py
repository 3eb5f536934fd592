"""A scope of our own, which systemd makes: of the system as root, of the user manager else."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, until

ROOT = os.geteuid() == 0
MODE = os.environ.get("VM_MODE")
pytestmark = [
    pytest.mark.usefixtures("needs_systemd", "needs_user_manager"),
    pytest.mark.skipif(not IN_VM, reason="starts and stops units: in the VM only"),
    pytest.mark.skipif(
        not ROOT and MODE != "v2", reason="a user manager limits memory on cgroup v2 only"
    ),
]
USER = [] if ROOT else ["--user"]
MANAGER = "" if ROOT else f"/user.slice/user-{os.geteuid()}.slice/user@{os.geteuid()}.service"
SLICE = MANAGER + ("/system.slice" if ROOT else "/app.slice")
#: Where memory is.
MEMORY = "/sys/fs/cgroup" if MODE == "v2" else "/sys/fs/cgroup/memory"
LIMIT = "memory.max" if MODE == "v2" else "memory.limit_in_bytes"
# Collected, as one in which something was OOM-killed has failed, and stays to be seen.
SCOPE = ["systemd-run", *USER, "--scope", "--collect", "-q", "-u", "climits-outer"]
SHOW_PATH = ["grep", "-E", ":memory:|^0::/" if MODE == "v2" else ":memory:", "/proc/self/cgroup"]


@pytest.fixture(autouse=True)
def names_are_free(needs_systemd, needs_user_manager):
    """The names that the tests share are free for the next; systemd takes a moment for that."""
    yield
    is_gone("climits-outer.scope")
    is_gone("climits-web.scope")


@pytest.fixture
def run(climits):
    """climits run, to its end."""

    def start(*words, prefix=(), **options):
        return subprocess.run(
            [*prefix, climits, *words], capture_output=True, text=True, timeout=20 * PATIENCE,
            check=False, **options,
        )  # fmt: skip

    return start


@pytest.fixture
def begin(climits, tmp_path):
    """climits run with a name, in the background, until its program runs: its Popen."""
    started = []

    def start(name, *command):
        out = open(tmp_path / f"{name}.err", "w+")
        process = subprocess.Popen(
            [climits, "run", "--memory", "20M", "--name", name, "--json", tmp_path / "result.json",
             "--", *command],
            stderr=out,
        )  # fmt: skip
        started.append(process)
        until(lambda: processes(f"climits-{name}.scope/climits/{name}"), "it does not start")
        process.told = lambda: out.seek(0) or out.read()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def processes(path):
    try:
        return Path(f"{MEMORY}{SLICE}/{path}/cgroup.procs").read_text().split()
    except OSError:
        return []


def systemctl(*words):
    return subprocess.run(
        ["systemctl", *USER, *words], capture_output=True, text=True, check=False
    ).stdout


def is_gone(unit):
    until(lambda: not systemctl("list-units", "--all", "--no-legend", unit), f"{unit} stays")
    return True


def path_of(text):
    return text.splitlines()[0].rpartition(":")[2]


# ---- where a program is born ---------------------------------------------------------------


def test_a_run_from_a_login_session(run):
    done = run("run", "--memory", "20M", "--name", "web", "--", *SHOW_PATH)
    assert path_of(done.stdout) == f"{SLICE}/climits-web.scope/climits/web"
    assert "exited 0" in done.stderr
    assert done.returncode == 0
    assert is_gone("climits-web.scope")


def test_the_limit_holds(run, hog):
    done = run("run", "--memory", "20M", "--", hog, "alloc", "60")
    assert "oom-killed" in done.stderr
    assert done.returncode == 137


def test_what_systemd_tells_of_it(run):
    show = ["systemctl", *USER, "show", "climits-web.scope", "-p", "Description,MemoryMax,Delegate"]
    done = run("run", "--memory", "20M", "--name", "web", "--", *show)
    facts = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert facts["Delegate"] == "yes"
    assert int(facts["MemoryMax"]) == (20 + 16) << 20
    assert facts["Description"].startswith("climits: systemctl")
    assert "limit 20.0M" in facts["Description"]


def test_the_scope_follows_a_limit_that_is_changed(begin, run):
    begin("web", "sleep", "600")

    def shown():
        text = systemctl("show", "climits-web.scope", "-p", "MemoryMax", "--value").strip()
        return text if text == "infinity" else int(text) - (16 << 20)

    for size, expected in (("200M", 200 << 20), ("40M", 40 << 20), ("max", "infinity")):
        assert run("set", "web", f"memory.max={size}").returncode == 0
        assert shown() == expected
    # What runs there may now use that much.
    assert run("set", "web", "memory.max=90M").returncode == 0
    assert shown() == 90 << 20


def test_a_limit_that_the_user_gave_a_scope_is_not_changed(run, climits):
    script = f"{climits} run --memory 20M --name web -- {climits} set web memory.max=90M"
    done = subprocess.run(
        [*SCOPE, "-p", "MemoryMax=50M", "-p", "Delegate=yes", "--", "sh", "-c",
         f"{script}; systemctl {' '.join(USER)} show climits-outer.scope -p MemoryMax"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == f"MemoryMax={50 << 20}\n"


def test_no_limit_is_no_limit_of_the_scope(run):
    show = ["systemctl", *USER, "show", "climits-web.scope", "-p", "MemoryMax"]
    assert run("run", "--name", "web", "--", *show).stdout == "MemoryMax=infinity\n"


def test_slice_and_unit(run):
    options = ("--slice", "climits-night", "--unit", "climits-x")
    done = run("run", *options, "--memory", "20M", "--name", "web", "--", *SHOW_PATH)
    expected = f"{MANAGER}/climits.slice/climits-night.slice/climits-x.scope/climits/web"
    assert path_of(done.stdout) == expected
    systemctl("stop", "climits-night.slice", "climits.slice")


def test_explain_foresees_the_place_and_asks_nobody(run):
    done = run("run", "--memory", "20M", "--name", "web", "--explain", "--", "true")
    assert done.stdout.splitlines()[0] == f"cgroup {SLICE}/climits-web.scope/climits/web"
    assert not os.path.exists(f"{MEMORY}{SLICE}/climits-web.scope")


def test_a_name_that_systemd_would_not_take_is_escaped(run):
    done = run("run", "--memory", "20M", "--name", "a b@c", "--", *SHOW_PATH)
    assert path_of(done.stdout) == rf"{SLICE}/climits-a\x20b\x40c.scope/climits/a b@c"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--unit", "a b"), "unit: 'a b.scope': not a name"),
        (("--unit", ""), "unit: '.scope': not a name"),
        (("--slice", "../x"), "slice: '../x.slice': not a name"),
        (("--unit", "x" * 300), "not a name"),
        (("--unit", "web.service"), "unit: 'web.service': of another kind"),
        (("--unit", "x", "--no-systemd"), "--unit and --no-systemd do not go together"),
        (("--slice", "x", "--parent", "/x"), "--slice and --parent do not go together"),
        (("--unit", "x", "--root", "/x"), "--unit and --root do not go together"),
    ],
)
def test_bad_input(run, options, words):
    done = run("run", *options, "--memory", "20M", "--", "true")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 125


def test_a_slice_that_systemd_refuses(run):
    done = run("run", "--slice", "a--b", "--memory", "20M", "--", "true")
    assert "climits: systemd did not start climits-true-" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 125


# ---- what is delegated already is used -----------------------------------------------------


def outer(path):
    return f"{SLICE}/climits-outer.scope/climits/{path}"


def test_a_delegated_scope_is_used(run):
    done = run(
        "run", "--memory", "20M", "--name", "web", "--", *SHOW_PATH,
        prefix=[*SCOPE, "-p", "Delegate=yes", "--"],
    )  # fmt: skip
    assert path_of(done.stdout) == outer("web")


def test_so_is_one_in_which_a_shell_lives(run, climits):
    script = f"{climits} run --memory 20M --name web -- {' '.join(map(repr, SHOW_PATH))}; :"
    done = subprocess.run(
        [*SCOPE, "-p", "Delegate=yes", "--", "sh", "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert path_of(done.stdout) == outer("web")


@pytest.mark.skipif(ROOT, reason="root asks for a scope where none was delegated")
def test_a_scope_of_the_users_that_holds_nothing_else_is_used_and_its_limit_holds(run, hog):
    # Not delegated in so many words; what it is limited to must hold for what runs in it.
    done = run(
        "run", "--memory", "max", "--name", "web", "--", hog, "alloc", "60",
        prefix=[*SCOPE, "-p", "MemoryMax=30M", "-p", "MemorySwapMax=0", "--"],
    )  # fmt: skip
    # The scope is systemd's, which may stop all of it, us too, before we can look: then it is
    # "stopped (SIGKILL): peak 26.8M, 1 process OOM-killed on the way".
    assert done.returncode == 137 and "oom-killed" in done.stderr.lower()


@pytest.mark.skipif(MODE != "v2", reason="on v1 a limit is no controller that could be taken back")
def test_a_reload_of_systemd_takes_no_limit_away(run, climits):
    script = (
        f"systemctl {' '.join(USER)} daemon-reload; systemctl {' '.join(USER)} daemon-reexec;"
        f"sleep 1; cat {MEMORY}/$(cut -d: -f3 /proc/self/cgroup)/{LIMIT}"
    )
    for prefix in ([], [*SCOPE, "--"]):
        done = run("run", "--memory", "20M", "--", "sh", "-c", script, prefix=prefix)
        assert done.stdout == f"{20 << 20}\n", done.stderr


def test_a_part_of_a_service_is_not_moved_out_of_it_unasked(tmp_path):
    program = "import climits; print(climits.run(['true'], memory='20M').verdict)"
    service = ["systemd-run", *USER, "--wait", "--pipe", "-q"]
    for extra in (["-p", "Delegate=yes"], []):
        done = subprocess.run(
            [*service, *extra, "--", sys.executable, "-c", program],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if extra:
            assert done.stdout == "exited\n"
        else:
            assert "a part of a service is not moved out of it unasked" in done.stderr
            assert done.stdout == ""


def test_the_command_leaves_a_service_that_has_not_delegated(run):
    # cron jobs are such.
    done = run(
        "run", "--memory", "20M", "--name", "web", "--", *SHOW_PATH,
        prefix=["systemd-run", *USER, "--wait", "--pipe", "-q", "--"],
    )  # fmt: skip
    assert path_of(done.stdout) == f"{SLICE}/climits-web.scope/climits/web"


# ---- the first two commands of the README -------------------------------------------------


def test_the_first_command_of_the_readme(run, hog):
    done = run("run", "--memory", "60M", "--", hog, "alloc", "100")
    assert re.search(r"oom-killed: pid \d+ \(hog\) at [\d.]+M of 60.0M", done.stderr)
    assert done.returncode == 137


def test_the_second_command_of_the_readme():
    installed = f"{sys.prefix}/.installed"  # by whoever set the environment up
    done = subprocess.run(
        ["make", "-o", installed, f"VENV={sys.prefix}", "demo"],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "oom-killed" in done.stderr
    assert done.returncode == 0, done.stderr


# ---- the rest of climits -------------------------------------------------------------------


def test_what_create_makes_stays_and_can_be_used(run):
    made = run("create", "keepme", "--memory", "30M")
    try:
        assert made.stdout == f"{SLICE}/climits.service/climits/keepme\n"
        assert run("get", "keepme", "memory.max").stdout == f"{30 << 20}\n"
        assert path_of(run("exec", "keepme", "--", *SHOW_PATH).stdout) == made.stdout.strip()
        rooted = run("run", "--root", made.stdout.strip(), "--", *SHOW_PATH)
        assert path_of(rooted.stdout) == made.stdout.strip()
        by_name = run("run", "--root", "keepme", "--", *SHOW_PATH)
        assert path_of(by_name.stdout) == made.stdout.strip()
        again = run("create", "keepme")
        assert "exists" in again.stderr
        assert again.returncode == 125
        assert run("create", "other").returncode == run("delete", "other").returncode == 0
    finally:
        assert run("delete", "keepme").returncode == 0
        systemctl("stop", "climits.service")


def test_what_create_makes_in_a_scope_stays_too(run):
    made = run("create", "keepme", prefix=[*SCOPE, "-p", "Delegate=yes", "--"])
    assert made.stdout == f"{SLICE}/climits.service/climits/keepme\n"
    assert run("delete", "keepme").returncode == 0
    systemctl("stop", "climits.service")


def test_two_at_once_make_the_first_that_stays(climits):
    both = [
        subprocess.Popen([climits, "create", name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    made = {process.communicate()[0].strip() for process in both}
    assert made == {f"{SLICE}/climits.service/climits/{name}" for name in ("one", "two")}
    assert not os.path.exists(f"{MEMORY}/climits-self")
    systemctl("stop", "climits.service")


def test_it_is_found_by_name_from_elsewhere(begin, run):
    process = begin("web", "sleep", "60")
    assert run("get", "web", "memory.max").stdout == f"{20 << 20}\n"
    listed = run("ps", "--json").stdout
    assert [json.loads(line)["name"] for line in listed.splitlines()] == ["web"]
    assert run("kill", "web").returncode == 0
    assert process.wait() == 137
    assert "signaled" in process.told()


def test_a_pool(climits):
    program = (
        "import climits\n"
        "with climits.ProcessPoolExecutor(2, memory='60M') as pool:\n"
        "    print(list(pool.map(abs, [-1, 2, -3])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout == "[1, 2, 3]\n", done.stderr
    assert not [n for n in os.listdir(MEMORY + SLICE) if n.startswith("climits-")] or is_gone(
        "climits-*.scope"
    )


def test_a_supervisor_restarts_what_was_killed(climits, hog, tmp_path):
    log = open(tmp_path / "log", "w+")
    process = subprocess.Popen(
        [climits, "supervise", "--memory", "20M", "--name", "web", "--", hog, "alloc", "60"],
        stderr=log,
    )
    try:
        until(lambda: Path(log.name).read_text().count("restarting") >= 2)
        process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        process.kill()
    assert f"in cgroup {SLICE}/climits-web.scope/climits/web" in Path(log.name).read_text()
    assert is_gone("climits-web.scope")


# ---- faults --------------------------------------------------------------------------------


def test_two_of_the_same_name(begin, run):
    begin("web", "sleep", "60")
    done = run("run", "--memory", "20M", "--name", "web", "--", "true")
    assert "systemd has a unit of that name already: climits-web.scope" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 125
    assert processes("climits-web.scope/climits/web")


def test_two_at_once_ask_for_the_same_name(climits):
    command = [climits, "run", "--memory", "20M", "--name", "web", "--", "sleep", "2"]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) in ([0, 125], [0, 0])
    for process, text in zip(both, told, strict=True):
        # Whoever came when the first had ended was no competitor.
        assert ("of that name already" in text) == (process.returncode == 125)


def test_the_scope_is_stopped_from_outside(begin, tmp_path):
    process = begin("web", "sleep", "60")
    systemctl("stop", "climits-web.scope")
    assert process.wait() == 143
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["verdict"], result["signal"], result["oom_kill"]) == ("stopped", 15, 0)
    assert is_gone("climits-web.scope")


def test_all_of_the_scope_is_killed(begin):
    process = begin("web", "sh", "-c", "trap '' TERM; sleep 60")
    systemctl("kill", "-s", "KILL", "climits-web.scope")
    assert process.wait() == -9
    assert is_gone("climits-web.scope")


def leave_one(begin):
    """A program that outlives a climits which was killed outright."""
    process = begin("web", "sh", "-c", "setsid sleep 600 & sleep 601")
    until(lambda: len(processes("climits-web.scope/climits/web")) > 1)
    process.kill()
    process.wait()
    assert processes("climits-web.scope/climits/web")


def test_climits_is_killed_and_the_next_of_that_name_makes_way(begin, run):
    leave_one(begin)
    done = run("run", "--memory", "20M", "--name", "web", "--", "true")
    assert "exited 0" in done.stderr
    assert is_gone("climits-web.scope")


def test_gc_ends_what_a_dead_climits_left_in_a_scope(begin, run):
    leave_one(begin)
    assert f"removed {SLICE}/climits-web.scope/climits/web" in run("gc").stdout
    assert is_gone("climits-web.scope")


@pytest.mark.skipif(ROOT, reason="root's bus is the system's")
def test_there_is_no_bus(run):
    environment = os.environ | {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere"}
    found = run("run", "--memory", "20M", "--", "true", env=environment)
    assert found.returncode == 0  # that of the user manager is where it always is
    systemctl("stop", "dbus.socket", "dbus.service")
    try:
        done = run("run", "--memory", "20M", "--", "true")
    finally:
        systemctl("start", "dbus.socket")
    assert "cannot ask your systemd user manager: /run/user/" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 125


@pytest.mark.skipif(ROOT, reason="root makes cgroups without systemd too")
def test_without_systemd_a_session_has_no_right(run):
    done = run("run", "--no-systemd", "--memory", "20M", "--", "true")
    assert "no right to make a cgroup" in done.stderr
    assert done.returncode == 125


@pytest.mark.skipif(not ROOT, reason="for root")
def test_without_systemd_root_makes_it_where_it_always_does(run):
    done = run("run", "--no-systemd", "--memory", "20M", "--name", "web", "--", *SHOW_PATH)
    assert path_of(done.stdout) == "/climits/web"
    assert not os.path.exists(f"{MEMORY}/climits")


@pytest.mark.skipif(not ROOT, reason="logs another user in")
@pytest.mark.skipif(MODE != "v2", reason="a user manager limits memory on cgroup v2 only")
def test_the_users_session_ends_without_linger(climits, tmp_path):
    """Its manager ends with it, and so does what runs in its scopes; nothing is left."""
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:2]:
        parent.chmod(0o755)
    subprocess.run(["useradd", "-m", "climitsbob"], check=True)
    log = tmp_path / "log"
    place = (
        "/sys/fs/cgroup/user.slice/user-$(id -u).slice/user@$(id -u).service/app.slice/"
        "climits-web.scope/climits/web/cgroup.procs"
    )
    script = (
        f"setsid {climits} run --memory 20M --name web --json {tmp_path}/result.json -- sleep 600"
        f" >{log} 2>&1 & until grep -qs . {place}; do sleep 0.1; done; id -u"
    )
    login = ["systemd-run", "-q", "--wait", "-P", "-p", "User=climitsbob", "-p", "PAMName=login"]
    done = subprocess.run([*login, "sh", "-c", script], capture_output=True, text=True, check=False)
    uid = int(done.stdout)
    manager = Path(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service")
    until(lambda: not manager.exists())
    assert json.loads((tmp_path / "result.json").read_text())["verdict"] == "stopped"
    assert "stopped (SIGTERM)" in log.read_text()


def test_nothing_is_left():
    """After all of the above; the directories of scopes take systemd a moment."""
    deadline = time.monotonic() + 5 * PATIENCE
    while time.monotonic() < deadline and (left := _left()):
        time.sleep(0.1)
    assert left == []


def _left():
    return [
        os.path.join(folder, name)
        for folder, names, _ in os.walk(MEMORY)
        for name in names
        if re.match(r"climits", name)
    ]
