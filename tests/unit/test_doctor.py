"""The checks of doctor over made-up hosts, and the parsing of what the kernel tells of itself."""

import gzip

import pytest

from climits.cgroup.layout import Layout
from climits.linux.kernel_config import (
    config_paths,
    parameter,
    parse_config,
    read_config,
    split_command_line,
)
from climits.linux.mounts import Mount
from climits.observe import checks
from climits.observe.doctor import examine, overall
from climits.observe.facts import Facts, UserFacts, read_sysctls
from climits.observe.remedies import CONFIG_OPTIONS, TROUBLES, fine, trouble
from climits.observe.trial import Trial

CONFIG = dict.fromkeys([option for option, _, _ in CONFIG_OPTIONS], "y")
SYSCTLS = {
    "vm.overcommit_memory": 0,
    "vm.panic_on_oom": 0,
    "vm.oom_kill_allocating_task": 0,
    "kernel.dmesg_restrict": 0,
    "user.max_user_namespaces": 1000,
    "fs.inotify.max_user_instances": 128,
    "fs.inotify.max_user_watches": 8192,
}
USER = UserFacts(
    name="alice", uid=1000, systemd=True, manager=True, bus=True, home="/climits/user-1000",
    delegated=frozenset(("cpu", "memory", "pids")), owns_home=False,
    subordinate=("/etc/subuid", "/etc/subgid"), helpers=("newuidmap", "newgidmap"),
)  # fmt: skip
NAMESPACES = frozenset(("user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"))
TRIAL = Trial(
    path="/climits/doctor-7-1", peak=True, counts_oom_kills=True, kills_at_once=True, freezes=True,
    reclaims=True, pressure=True, delegated=frozenset(("pids", "cpu", "cpuset")),
)  # fmt: skip
FAILED = Trial(error="cannot make the cgroup: /x: no", hint="do that", refused=False)
REFUSED = FAILED.replace(refused=True)


@pytest.fixture
def v2(tmp_path):
    """Mounts of a unified host."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return [Mount(f"1 1 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw,nsdelegate")]


def v1(*controllers, options="rw"):
    return [
        Mount(f"1 1 0:{i} / /nowhere/{c} {options} - cgroup cgroup rw,{c}")
        for i, c in enumerate(controllers)
    ]


LEGACY = v1("memory", "pids", "cpu", "cpuset", "freezer")


@pytest.fixture
def host(v2):
    """host(CHANGES) are the facts of a host where all is well, but for the changes."""

    def make(mounts=v2, **changes):
        usual = {
            "release": "6.12.1", "config": CONFIG, "config_path": "/proc/config.gz",
            "command_line": ["quiet"], "layout": Layout(mounts), "controllers": {}, "root": True,
            "swap_total": 1 << 30, "psi": True, "sysctls": SYSCTLS, "namespaces": NAMESPACES,
            "cgroup_namespace": False, "kernel_log": True, "leftovers": [], "trial": TRIAL,
        }  # fmt: skip
        return Facts(**usual | changes)

    return make


def without(**changes):
    return {"trial": TRIAL.replace(**changes)}


def as_user(**changes):
    return {"root": False, "user": USER.replace(**changes)}


def without_right(**changes):
    return {"trial": REFUSED, **as_user(**changes)}


def sysctl(**changes):
    return {"sysctls": SYSCTLS | {name.replace("__", "."): v for name, v in changes.items()}}


def config(**changes):
    return {"config": {k: v for k, v in (CONFIG | changes).items() if v}}


# ---- all is well ---------------------------------------------------------------------------


def test_a_host_where_all_is_well(host):
    findings = examine(host())
    assert overall(findings) == "ok"
    assert len(findings) == len(checks.CHECKS)
    assert all(f.state == "ok" and f.found and not (f.key or f.remedy) for f in findings)
    assert len({f.check for f in findings}) == len(findings)


@pytest.mark.parametrize(
    ("states", "worst"),
    [
        (["ok", "ok"], "ok"),
        (["ok", "degraded", "ok"], "degraded"),
        (["cannot", "degraded", "ok"], "cannot"),
        (["ok", "cannot"], "cannot"),
    ],
)
def test_the_worst_finding_decides(states, worst):
    findings = [fine("x", "y").replace(state=state) for state in states]
    assert overall(findings) == worst


# ---- each trouble is found -----------------------------------------------------------------

#: (key, what is found, changes, mounts or None)
HOSTS = [
    ("boot-memory-disabled", "cgroup_disable=memory", {"command_line": ["cgroup_disable=memory"]}),
    ("boot-controller-disabled", "cgroup_disable=pids,pressure",
     {"command_line": ["cgroup_disable=pids,pressure"]}),
    ("boot-swapaccount-off", "swapaccount=0",
     {"command_line": ["swapaccount=0"], "release": "5.10.0"}),
    ("boot-unified-off", "systemd.unified_cgroup_hierarchy=0",
     {"command_line": ["systemd.unified_cgroup_hierarchy=no"]}),
    ("boot-psi-off", "psi=0", {"command_line": ["psi=1", "psi=0"], "psi": False}),
    ("boot-nokmem", "cgroup.memory=nokmem", {"command_line": ["cgroup.memory=nosocket,nokmem"]}),
    ("boot-nosocket", "cgroup.memory=nosocket", {"command_line": ["cgroup.memory=nosocket"]}),
    ("not-mounted", "no cgroup", {"mounts": [], "trial": FAILED}),
    ("read-only", "/nowhere/memory", {"mounts": v1("memory", options="ro"), "trial": FAILED}),
    ("memory-on-v1", "legacy", {"mounts": LEGACY}),
    ("no-v2-beside", "legacy", {"mounts": LEGACY}),
    ("memory-missing", "memory controller is not available", {"mounts": v1("cpu"),
                                                              "trial": FAILED}),
    ("no-right", "cannot make", {"trial": REFUSED, "root": False}),
    ("limit-refused", "cannot make", {"trial": FAILED}),
    ("no-user-manager", "user@1000.service does not run", without_right(manager=False, bus=False)),
    ("no-user-bus", "/run/user/1000", without_right(bus=False)),
    ("memory-not-delegated", "was given cpu", without_right(delegated=frozenset(("cpu",)))),
    ("no-owned-cgroup", "/climits/user-1000 is not there", without_right(systemd=False)),
    ("outside-owned-cgroup", "/climits/user-1000 is alice's",
     without_right(systemd=False, owns_home=True)),
    ("container-root-busy", "cannot make", {"trial": FAILED, "busy_root": True}),
    ("container-host-tree", "docker (/.dockerenv) in /docker/abc",
     {"container": "docker", "container_mark": "/.dockerenv", "first_process": "/docker/abc"}),
    ("no-subordinate-ids", "no range for alice in /etc/subgid",
     as_user(subordinate=("/etc/subuid",))),
    ("no-newuidmap", "newgidmap", as_user(helpers=("newuidmap",))),
    ("no-oom-counter", "not counted", without(counts_oom_kills=False)),
    ("controller-missing", "pids", {"mounts": v1("memory", "cpu", "cpuset")}),
    ("controller-not-delegated", "not here: cpu, cpuset",
     {**without(delegated=frozenset(("pids", "memory"))), "root": False}),
    ("swap-not-limited", "1.0G; no memsw", without(swap_error="no memsw")),
    ("no-peak", "does not keep", without(peak=False)),
    ("no-kill", "cgroup.kill", without(kills_at_once=False)),
    ("no-freezer", "freezer", without(kills_at_once=False, freezes=False)),
    ("no-reclaim", "memory.reclaim", without(reclaims=False)),
    ("psi-off", "CONFIG_PSI_DEFAULT_DISABLED",
     {**config(CONFIG_PSI_DEFAULT_DISABLED="y"), "psi": False}),
    ("psi-no-cgroup", "memory.pressure", without(pressure=False)),
    ("no-namespaces", "not in this kernel: user, net",
     {"namespaces": NAMESPACES - {"user", "net"}}),
    ("namespaces-limited", "user.max_user_namespaces = 0", sysctl(user__max_user_namespaces=0)),
    ("userns-root-only", "= 0", sysctl(kernel__unprivileged_userns_clone=0)),
    ("userns-apparmor", "= 1", sysctl(kernel__apparmor_restrict_unprivileged_userns=1)),
    ("kernel-log-hidden", "kernel.dmesg_restrict = 1",
     {**sysctl(kernel__dmesg_restrict=1), "kernel_log": False}),
    ("panic-on-oom", "vm.panic_on_oom = 2", sysctl(vm__panic_on_oom=2)),
    ("no-overcommit", "vm.overcommit_memory = 2", sysctl(vm__overcommit_memory=2)),
    ("few-inotify", "max_user_instances = 8", sysctl(fs__inotify__max_user_instances=8)),
    ("few-inotify", "max_user_watches = 100", sysctl(fs__inotify__max_user_watches=100)),
    ("leftovers", "2: /climits/a, /climits/b", {"leftovers": ["/climits/a", "/climits/b"]}),
    *((f"config-{option[7:].lower().replace('_', '-')}", f"{option} is not set",
       {**config(**{option: ""}), "release": last or "6.18"})
      for option, last, _ in CONFIG_OPTIONS),
]  # fmt: skip


@pytest.mark.parametrize(("key", "found", "changes"), HOSTS, ids=[h[0] for h in HOSTS])
def test_each_trouble_is_found_and_has_its_remedy(host, key, found, changes):
    findings = examine(host(**changes))
    (finding,) = (f for f in findings if f.key == key)
    known = TROUBLES[key]
    assert found in finding.found
    assert (finding.check, finding.state, finding.cost) == (known.check, known.state, known.cost)
    assert finding.remedy
    assert overall(findings) == (
        "cannot" if "cannot" in {f.state for f in findings} else "degraded"
    )


def test_every_trouble_of_the_table_has_a_host():
    assert {key for key, _, _ in HOSTS} == set(TROUBLES)


@pytest.mark.parametrize("known", TROUBLES.values(), ids=TROUBLES)
def test_each_trouble_says_what_it_costs_and_what_to_do(known):
    assert known.state in ("degraded", "cannot")
    for text in (known.cost, known.remedy):
        assert text == text.strip() and not text[:2].istitle() and text[-1] != "."
    assert ("memory cannot be limited" in known.cost) <= (known.state == "cannot")


# ---- what is no trouble --------------------------------------------------------------------


def found_by(check, facts):
    (finding,) = check(facts)
    assert finding.state == "ok"
    return finding.found


def test_what_later_kernels_take_no_notice_of_is_no_trouble(host):
    line = ["swapaccount=0", "cgroup_no_v1=all", "cgroup_enable=memory"]
    text = found_by(checks.boot_parameters, host(command_line=line, release="6.1.0-56-amd64"))
    assert "swapaccount=0 (without effect since 6.1)" in text
    assert "cgroup_no_v1=all" in text and "cgroup_enable=memory" in text


@pytest.mark.parametrize("value", ["1", "yes", "on"])
def test_parameters_that_switch_on(host, value):
    line = [f"psi={value}", f"swapaccount={value}", f"systemd.unified_cgroup_hierarchy={value}"]
    text = found_by(checks.boot_parameters, host(command_line=line, release="5.10"))
    assert text == f"swapaccount={value}, systemd.unified_cgroup_hierarchy={value}, psi={value}"
    assert found_by(checks.boot_parameters, host()) == "none of them touches cgroups"


def test_options_that_a_kernel_no_longer_has_are_not_missed(host):
    facts = host(**config(CONFIG_MEMCG_SWAP="", CONFIG_MEMCG_KMEM=""), release="6.12.1")
    text = found_by(checks.configuration, facts)
    assert "MEMCG, PSI" in text and "MEMCG_KMEM" not in text
    assert "not set, and not needed here: CONFIG_SWAP, CONFIG_MEMCG_V1, CONFIG_CPUSETS_V1" in text
    assert "MEMCG_V1" not in found_by(checks.configuration, facts.replace(
        release="6.1", config=CONFIG | {"CONFIG_SWAP": "y"}))  # fmt: skip


def test_an_unreadable_configuration_is_told(host):
    facts = host(config=None, config_path=None, command_line=[])
    assert "tried for real" in found_by(checks.configuration, facts)
    assert "cannot be read" in found_by(checks.boot_parameters, facts)


def test_no_swap_needs_no_limit(host):
    assert "none; a limit works" in found_by(checks.swap, host(swap_total=0))
    no_limit = host(swap_total=0, **without(swap_error="no memsw"))
    assert "none; a limit is not needed" in found_by(checks.swap, no_limit)


def test_the_marks_of_a_container_are_told(host):
    mounts = [Mount("1 1 0:1 /docker/abc /nowhere rw - cgroup cgroup rw,memory")]
    docker = {"container": "docker", "container_mark": "/.dockerenv"}
    text = found_by(checks.container, host(mounts, cgroup_namespace=True, **docker))
    assert text.startswith("docker (/.dockerenv), in a cgroup namespace")
    text = found_by(checks.container, host(mounts, first_process="/docker/abc", **docker))
    assert "in the host's cgroup namespace; only a part of the tree is mounted at /nowhere" in text
    # A machine that was made of a container's image.
    text = found_by(checks.container, host(first_process="/init.scope", **docker))
    assert text == "docker (/.dockerenv), in the host's cgroup namespace"
    assert found_by(checks.container, host()) == "no sign of one"
    text = found_by(checks.container, host(cgroup_namespace=True))
    assert text.startswith("some kind of one, in a cgroup namespace")


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [("docker", "writable-cgroups=true"), ("podman", "unmask=/sys/fs/cgroup"),
     ("kubernetes", "securityContext"), ("lxc", "lxc.mount.auto"), ("other", "private")],
)  # fmt: skip
def test_a_read_only_tree_names_what_to_add_to_the_run_command(host, kind, remedy):
    mounts = v1("memory", options="ro")
    facts = host(mounts, container=kind, container_mark="x", trial=REFUSED, first_process="/x")
    assert remedy in checks.filesystems(facts)[0].remedy
    elsewhere = checks.filesystems(host(mounts, trial=REFUSED))[0].remedy
    assert elsewhere == "mount -o remount,rw /nowhere/memory"


def test_a_user_for_whom_all_is_well(host):
    findings = examine(host(**as_user(), kernel_log=False))
    assert overall(findings) == "ok"
    assert "works: " in found_by(checks.ordinary_users, host(**as_user()))
    # Nobody means an ordinary user to read it.
    assert "ordinary user" in found_by(checks.kernel_log, host(**as_user(), kernel_log=False))


def test_a_user_is_told_the_command_with_their_name(host):
    for changes in (without_right(systemd=False), as_user(subordinate=())):
        remedies = [f.remedy for f in examine(host(**changes)) if f.remedy]
        assert "as root: climits setup --user alice --apply" in remedies
    changes = {**as_user(), **without(delegated=frozenset(("pids", "cpu")))}
    remedies = [f.remedy for f in examine(host(**changes)) if f.remedy]
    assert remedies == ["as root: climits setup --user alice --apply, and log in again"]
    (finding,) = checks.memory_limit(host(**without_right()))
    assert (finding.key, finding.remedy) == ("no-right", "do that")


def test_the_refusal_of_a_read_only_tree_is_no_matter_of_the_user(host):
    facts = host(v1("memory", options="ro"), **without_right(systemd=False))
    assert [f.key for f in checks.memory_limit(facts)] == ["no-right"]


def test_one_trouble_is_told_once(host):
    keys = [f.key for f in examine(host(psi=False, command_line=["psi=0"])) if f.key]
    assert keys == ["boot-psi-off"]
    keys = [f.key for f in examine(host(mounts=[], trial=FAILED)) if f.key]
    assert keys == ["not-mounted"]
    facts = host(mounts=v1("pids", "cpu", "cpuset", "freezer"), trial=FAILED)
    assert [f.key for f in examine(facts) if f.key] == ["no-v2-beside", "memory-missing"]


def test_a_remedy_that_fits_better_takes_the_place_of_the_tables(host):
    (finding,) = checks.namespaces(host(**sysctl(user__max_user_namespaces=0)))
    assert finding.remedy == "sysctl -w user.max_user_namespaces=10000"
    assert trouble("leftovers", "1").remedy == TROUBLES["leftovers"].remedy
    (finding,) = checks.memory_limit(host(trial=FAILED))
    assert finding.remedy == "do that"


# ---- what the kernel tells of itself -------------------------------------------------------

TEXT = """\
# Linux/x86 6.1 Kernel Configuration
CONFIG_MEMCG=y
# CONFIG_PSI is not set
CONFIG_ZRAM=m
CONFIG_LOCALVERSION="-x=1"
"""
PARSED = {"CONFIG_MEMCG": "y", "CONFIG_ZRAM": "m", "CONFIG_LOCALVERSION": "-x=1"}


def test_parse_config():
    assert parse_config(TEXT) == PARSED
    assert parse_config("") == {}


def test_read_config_takes_the_first_that_can_be_read(tmp_path):
    plain, packed, broken = (tmp_path / name for name in ("plain", "packed", "broken"))
    plain.write_text(TEXT.replace("=y", "=n"))
    packed.write_bytes(gzip.compress(TEXT.encode()))
    broken.write_bytes(gzip.compress(TEXT.encode())[:40])
    paths = [str(p) for p in (tmp_path / "missing", broken, packed, plain)]
    assert read_config("6.1", paths) == (PARSED, str(packed))
    assert read_config("6.1", paths[3:])[0]["CONFIG_MEMCG"] == "n"
    assert read_config("6.1", paths[:2]) == (None, None)


def test_the_usual_places_of_the_configuration():
    paths = config_paths("6.1.0-x")
    assert paths[:3] == ["/proc/config.gz", "/boot/config-6.1.0-x", "/lib/modules/6.1.0-x/config"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b=1  c\n", ["a", "b=1", "c"]),
        ('a="b c" d', ["a=b c", "d"]),
        ("a -- b=1", ["a"]),
        ("", []),
    ],
)
def test_split_command_line(text, words):
    assert split_command_line(text) == words


def test_parameter():
    words = ["psi=1", "cgroup_disable=memory", "cgroup-disable=pids", "psi", "xpsi=0"]
    assert parameter(words, "psi") == ["1"]
    assert parameter(words, "cgroup_disable") == ["memory", "pids"]
    assert parameter(words, "swapaccount") == []


def test_read_sysctls_leaves_out_what_is_not_there(tmp_path):
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm/panic_on_oom").write_text("2\n")
    (tmp_path / "vm/overcommit_memory").write_text("odd\n")
    assert read_sysctls(str(tmp_path)) == {"vm.panic_on_oom": 2}
