"""`climits doctor` on this host."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, our_cgroups

from climits.cgroup import ownership, placement
from climits.cgroup.files import Directory
from climits.cgroup.group import Cgroup
from climits.cgroup.layout import current
from climits.cli.main import dispatch
from climits.errors import InvalidValueError
from climits.linux.proc import pid_namespace
from climits.observe import facts as facts_module
from climits.observe.doctor import examine, overall
from climits.observe.facts import find_leftovers, gather
from climits.observe.remedies import TROUBLES
from climits.observe.trial import try_limits

PAGE = (Path(__file__).parents[2] / "docs/reference/doctor.md").read_text()
NOBODY = 65534
STATUS = {"ok": 0, "degraded": 1, "cannot": 2}


def doctor(capfd, *words):
    """(exit status, what the JSON has, findings by key)."""
    status = dispatch(["doctor", "--json", *words])
    out, err = capfd.readouterr()
    assert err == ""
    facts = json.loads(out)
    return status, facts, {f["key"]: f for f in facts["findings"] if "key" in f}


@pytest.fixture
def leftover():
    """A cgroup whose owner is dead."""
    group = Cgroup.create("climits-dead", memory="60M")
    for part in group.parts:
        part.directory.set_mark(ownership.MARK, b"4194305 1 %d" % pid_namespace())
    yield group.path
    for part in group.parts:
        if not part.directory.is_gone():
            os.rmdir(part.directory.path)
    group.close()


# ---- this host -----------------------------------------------------------------------------


def test_memory_can_be_limited_here_and_nothing_is_left(capfd):
    homes = [Path(h.directory_path(placement.HOME)) for h in current().hierarchies]
    before = our_cgroups()
    new = [home for home in homes if not home.is_dir()]
    status, facts, troubles = doctor(capfd)
    assert our_cgroups() == before
    # A home that was not there before is gone again, unless somebody else works in it meanwhile.
    assert [
        home for home in new if home.is_dir() and not any(map(Path.is_dir, home.iterdir()))
    ] == []
    by_check = {f["check"]: f for f in facts["findings"]}
    assert by_check["memory limit"]["state"] == "ok"
    assert re.search(
        r"tried in \S*/doctor-\d+-\d+: set, read back", by_check["memory limit"]["found"]
    )
    assert status == STATUS[facts["state"]] and status in (0, 1)
    assert facts["kernel"] == os.uname().release and facts["schema"] == 1
    assert set(troubles) <= set(TROUBLES)


def test_what_is_found_is_what_this_layout_has(memory_v1):
    found = {f.key for f in examine() if f.key}
    mode = current().mode
    assert ("memory-on-v1" in found) == memory_v1
    for key in ("no-v2-beside", "no-kill", "psi-no-cgroup"):
        assert (key in found) == (mode == "legacy")
    assert not found & {"no-peak", "no-reclaim", "no-oom-counter", "no-freezer", "memory-missing"}
    assert not found & {"controller-missing", "swap-not-limited", "limit-refused", "not-mounted"}


def test_the_trial_tells_what_a_cgroup_can_do():
    trial = try_limits(current())
    assert (trial.error, trial.swap_error) == (None, None)
    assert trial.peak and trial.counts_oom_kills and trial.freezes and trial.reclaims
    assert trial.kills_at_once == trial.pressure == (current().unified is not None)
    assert {"memory", "pids", "cpu", "cpuset"} <= trial.delegated
    assert not os.path.exists(current().holding("memory").directory_path(trial.path))


def test_the_facts_are_those_of_this_host():
    facts = gather()
    swaps = Path("/proc/swaps").read_text().splitlines()[1:]
    assert bool(facts.swap_total) == bool(swaps)
    assert facts.psi == Path("/proc/pressure/memory").exists()
    assert facts.command_line == Path("/proc/cmdline").read_text().split(" -- ")[0].split()
    assert facts.sysctls["vm.panic_on_oom"] == int(Path("/proc/sys/vm/panic_on_oom").read_text())
    assert {"user", "mnt", "pid", "net"} <= facts.namespaces
    assert facts.root and facts.kernel_log
    if Path("/proc/config.gz").exists():
        assert facts.config["CONFIG_MEMCG"] == "y" and facts.config_path == "/proc/config.gz"


def test_it_is_told_to_people_in_columns(capfd):
    status = dispatch(["doctor"])
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert err == "" and all(len(line) <= 100 for line in lines)
    heads = [line for line in lines if line and line[0] != " "][:-1]
    for line in heads:
        state, check = line[:10].strip(), line[10:34].strip()
        assert state in STATUS and check and line[34] != " "
    assert len([line for line in lines if line.startswith("          remedy  ")]) == len(
        [line for line in heads if not line.startswith("ok ")]
    )
    last = {0: "all is well", 1: "degraded: memory can be limited here"}
    assert lines[-1].startswith(last[status])
    assert dispatch(["doctor", "--quiet"]) == status
    quiet = capfd.readouterr().out
    assert "\nok " not in f"\n{quiet}" and ("remedy" in quiet) == (status == 1)


def test_words_are_refused():
    with pytest.raises(InvalidValueError, match="doctor takes no arguments: web"):
        dispatch(["doctor", "web"])


# ---- leftovers -----------------------------------------------------------------------------


def test_leftovers_are_found_and_swept_by_fix(capfd, leftover):
    assert leftover in find_leftovers(current())
    status, _, troubles = doctor(capfd)
    assert status == 1 and leftover in troubles["leftovers"]["found"]
    assert "--fix" in troubles["leftovers"]["remedy"]
    assert leftover in find_leftovers(current())  # looking changes nothing
    _, _, troubles = doctor(capfd, "--fix")
    assert leftover not in troubles.get("leftovers", {}).get("found", "")
    assert leftover not in find_leftovers(current())
    assert not any(os.path.isdir(h.directory_path(leftover)) for h in current().hierarchies)


def test_leftovers_are_looked_for_wherever_gc_would_remove_them(leftover, monkeypatch):
    monkeypatch.setattr(facts_module, "own_homes", lambda: ["/climits-nowhere"])
    assert find_leftovers(current()) == []
    homes = ["/climits-nowhere", os.path.dirname(leftover)]
    monkeypatch.setattr(facts_module, "own_homes", lambda: homes)
    assert leftover in find_leftovers(current())


def test_fix_tells_what_it_removed(capfd, leftover):
    dispatch(["doctor", "--fix", "--quiet"])
    assert "removed" not in capfd.readouterr().out
    Cgroup.create("climits-dead", memory="60M").close()
    for hierarchy in current().hierarchies:
        path = hierarchy.directory_path(leftover)
        if os.path.isdir(path):
            mark = b"4194305 1 %d" % pid_namespace()
            Directory(path).set_mark(ownership.MARK, mark)
    dispatch(["doctor", "--fix"])
    assert f"removed {leftover}\n" in capfd.readouterr().out


def test_a_cgroup_of_a_living_owner_is_no_leftover():
    with Cgroup.create("climits-alive", memory="60M") as group:
        assert group.path not in find_leftovers(current())


# ---- without rights ------------------------------------------------------------------------


def test_an_ordinary_user_without_a_cgroup_is_told_what_to_do(capfd):
    doctor(capfd)  # what it imports may lie where only root can read
    os.seteuid(NOBODY)
    try:
        status, facts, troubles = doctor(capfd)
    finally:
        os.seteuid(0)
    assert (status, facts["state"]) == (2, "cannot")
    key = "no-user-manager" if os.path.isdir("/run/systemd/system") else "no-owned-cgroup"
    assert troubles[key]["state"] == "cannot"
    remedy = {"no-owned-cgroup": "as root: climits setup --user nobody --apply",
              "no-user-manager": "loginctl enable-linger nobody"}[key]  # fmt: skip
    assert remedy in troubles[key]["remedy"]
    assert overall(examine()) != "cannot"  # root again


def test_an_ordinary_user_in_a_delegated_cgroup(climits):
    prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run([*prefix, sys.executable, "-c", ""], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("an ordinary user cannot run this interpreter here (it lies in root's home)")
    memory = current().holding("memory")
    paths = [
        f"{hierarchy.mount_point}/climits-doctors"
        for hierarchy in dict.fromkeys([memory, *current().trackers()])
    ]
    if memory.delegates:
        Directory(memory.mount_point).write("cgroup.subtree_control", "+memory")
    handed = set(memory.controllers)
    if memory.delegates:
        handed = set(Path(memory.mount_point, "cgroup.subtree_control").read_text().split())
    try:
        for path in paths:
            os.mkdir(path)
            for name in ("", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "tasks"):
                if os.path.exists(f"{path}/{name}"):
                    os.chown(f"{path}/{name}", NOBODY, NOBODY)
        join = "".join(f"echo $$ > {path}/cgroup.procs; " for path in paths)
        done = subprocess.run(
            ["sh", "-c", f'{join} exec "$@"', "sh", *prefix, climits, "doctor", "--json"],
            capture_output=True, text=True, timeout=60 * PATIENCE, check=False,
        )  # fmt: skip
    finally:
        for path in paths:
            for below, _, _ in os.walk(path, topdown=False):
                os.rmdir(below)
    assert (done.returncode in (0, 1), done.stderr) == (True, "")
    found = {f["check"]: f for f in json.loads(done.stdout)["findings"]}
    assert found["memory limit"]["state"] == "ok"
    rootless = found["rootless use"]  # nobody has no subordinate ids, as a rule
    assert rootless.get("key") in (None, "no-subordinate-ids", "no-newuidmap")
    assert "/climits-doctors/climits/doctor-" in found["memory limit"]["found"]
    missing = [c for c in ("pids", "cpu", "cpuset") if c in memory.controllers - handed]
    others = found["other controllers"]
    assert others["state"] == ("degraded" if missing else "ok")
    assert ("not here: " + ", ".join(missing) in others["found"]) == bool(missing)


@pytest.mark.vm_only
def test_a_read_only_cgroup_filesystem(climits):
    mount = current().holding("memory").mount_point
    script = f'mount -o bind,remount,ro "{mount}" && exec "{climits}" doctor --json'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
        timeout=60 * PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    troubles = {f.get("key"): f for f in json.loads(done.stdout)["findings"]}
    assert "remount,rw" in troubles["read-only"]["remedy"]


@pytest.mark.vm_only
def test_without_any_cgroup_filesystem(climits):
    script = (
        "for m in $(awk '/ - cgroup/ {print $5}' /proc/self/mountinfo); do umount $m; done;"
        f'exec "{climits}" doctor --json'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True,
        timeout=60 * PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "")
    troubles = {f.get("key"): f for f in json.loads(done.stdout)["findings"]}
    assert troubles["not-mounted"]["remedy"] == "as root: climits setup --mount v2"


@pytest.mark.vm_only
def test_a_setting_that_is_changed_is_found(capfd):
    path = Path("/proc/sys/user/max_user_namespaces")
    before = path.read_text()
    try:
        path.write_text("0")
        status, _, troubles = doctor(capfd)
    finally:
        path.write_text(before)
    assert status == 1
    assert troubles["namespaces-limited"]["remedy"] == "sysctl -w user.max_user_namespaces=10000"
    assert "namespaces-limited" not in doctor(capfd)[2]


# ---- the page ------------------------------------------------------------------------------


@pytest.mark.parametrize("block", re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S))
def test_the_commands_of_the_page(block, climits, tmp_path):
    (tmp_path / "climits").symlink_to(climits)
    done = subprocess.run(
        ["bash", "-ec", block], capture_output=True, text=True, timeout=60 * PATIENCE, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "memory limit" in done.stdout and '"findings"' in done.stdout
