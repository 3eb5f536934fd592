"""The drop-in tools on real cgroups, whatever the layout."""

import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, until

from climits.cgroup.layout import current
from climits.cli.cgtools import main, rules

MIB = 1 << 20
NO_LIMIT = "9223372036854771712"


class Tool:
    """Runs tools in this process and remembers what the last one said."""

    def __init__(self, capfd):
        self.capfd = capfd
        self.out = self.err = ""

    def __call__(self, tool, *words, status=0):
        self.capfd.readouterr()
        found = main.run(tool, [str(word) for word in words])
        sys.stdout.flush()
        self.out, self.err = self.capfd.readouterr()
        assert found == status, (tool, words, found, self.err)
        if status == 0:
            assert self.err == ""  # success leaves standard error empty
        else:
            assert self.err or self.out
        return self.out

    def value(self, name, group):
        return self("cgget", "-n", "-v", "-r", name, group).rstrip("\n")


@pytest.fixture
def tool(capfd):
    return Tool(capfd)


def remove(path):
    for child in [p for p in Path(path).iterdir() if p.is_dir()]:
        remove(child)
    for pid in Path(path, "cgroup.procs").read_text().split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue
    until(lambda: gone(path), f"{path} stays")


def gone(path):
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


@pytest.fixture
def name():
    """A name for cgroups, which are removed wherever they were made."""
    name = f"climits-tool-{os.getpid()}"
    yield name
    for hierarchy in current().hierarchies:
        for path in Path(hierarchy.mount_point).glob(f"{name}*"):
            remove(path)


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="session")
def tools(tmp_path_factory):
    """The tools as they are installed, for where the process is the point."""
    from climits.cli.main import dispatch

    folder = tmp_path_factory.mktemp("tools")
    assert dispatch(["cgtools", "install", str(folder), "--quiet"]) == 0
    return folder


def directory(controller, name):
    return Path(current().holding(controller).directory_path(f"/{name}"))


def where(pid, controller):
    from climits.linux.proc import cgroup_paths

    return current().holding(controller).path_among(cgroup_paths(pid))


@pytest.fixture
def limit(memory_v1):
    return "memory.limit_in_bytes" if memory_v1 else "memory.max"


# ---- the sequences that people publish -------------------------------------------------------


def test_the_published_sequence_with_cpuset(tool, name, controller, sleeper):
    controller("cpuset")
    cpus = f"0-{min(os.cpu_count(), 2) - 1}" if os.cpu_count() > 1 else "0"
    tool("cgcreate", "-g", f"cpuset:/{name}")
    tool("cgset", "-r", f"cpuset.cpus={cpus}", "-r", "cpuset.mems=0", name)
    out = tool("cgget", "-r", "cpuset.cpus", "-r", "cpuset.mems", name)
    assert out == f"{name}:\ncpuset.cpus: {cpus}\ncpuset.mems: 0\n\n"
    tool("cgclassify", "-g", f"cpuset:/{name}", sleeper.pid)
    assert where(sleeper.pid, "cpuset") == f"/{name}"
    tool("cgdelete", "-g", f"cpuset:/{name}")
    assert not directory("cpuset", name).exists()
    assert where(sleeper.pid, "cpuset") == "/"


def test_the_same_with_a_shell_that_moves_itself(tools, name, controller):
    """To the letter, as it stands in the tutorials: ``cgclassify -g cpuset:/test $$``."""
    controller("cpuset")
    script = f"""
        set -e
        cgcreate -g cpuset:/{name}
        cgset -r cpuset.cpus=0 -r cpuset.mems=0 {name}
        cgget -r cpuset.cpus -r cpuset.mems {name}
        cgclassify -g cpuset:/{name} $$
        grep -c {name} /proc/$$/cgroup
        cgdelete -g cpuset:/{name}
        grep -c {name} /proc/$$/cgroup || true
    """
    done = shell(tools, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{name}:\ncpuset.cpus: 0\ncpuset.mems: 0\n\n1\n0\n"


def test_the_published_sequence_with_memory(tools, name, limit):
    script = f"""
        set -e
        cgcreate -g memory:/{name}
        cgset -r {limit}=50M {name}
        cgget -r {limit} {name}
        cgexec -g memory:/{name} ./a.out one 'two words'
        cgclassify -g memory:/{name} $$
        cgdelete -g memory:/{name}
        grep -c {name} /proc/$$/cgroup || true
    """
    (tools / "a.out").write_text(f'#!/bin/sh\ngrep -c {name} /proc/self/cgroup\necho "$#" "$2"\n')
    (tools / "a.out").chmod(0o755)
    done = shell(tools, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{name}:\n{limit}: {50 * MIB}\n\n1\n2 two words\n0\n"


def shell(tools, script):
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    return subprocess.run(
        ["bash", "-c", script], cwd=tools, env=environment, capture_output=True, text=True,
        timeout=60 * PATIENCE,
    )  # fmt: skip


def test_pausing_at_the_limit(tool, name, on_v1):
    tool("cgcreate", "-g", f"memory:/{name}")
    tool("cgset", "-r", "memory.oom_control=1", name)
    assert tool("cgget", "-r", "memory.oom_control", name).startswith(
        f"{name}:\nmemory.oom_control: oom_kill_disable 1\n\tunder_oom 0\n"
    )
    tool("cgset", "-r", "memory.oom_control=0", name)
    assert "oom_kill_disable 0" in tool("cgget", "-r", "memory.oom_control", name)


# ---- cgcreate ------------------------------------------------------------------------------


def test_a_path_is_made_with_all_above_it(tool, name, limit):
    tool("cgcreate", "-g", f"memory:/{name}/a/b")
    tool("cgset", "-r", f"{limit}=10M", f"{name}/a/b")
    assert tool.value(limit, f"/{name}/a/b") == str(10 * MIB)
    tool("cgcreate", "-g", f"memory:{name}/a/b/")  # there already, and spelled otherwise


def test_every_controller_named_is_there(tool, name, controller):
    controller("pids")
    tool("cgcreate", "-g", f"memory,pids:/{name}", "-g", f"cpu:/{name}-2")
    for hierarchy, group in (("memory", name), ("pids", name), ("cpu", f"{name}-2")):
        assert tool("cgget", "-n", "-g", f"{hierarchy}:/{group}").startswith(f"{hierarchy}.")


def test_a_star_is_every_hierarchy(tool, name):
    tool("cgcreate", "-g", f"*:/{name}")
    limiting = {h for h in current().hierarchies if {"memory", "cpu", "pids"} & h.controllers}
    assert limiting
    for hierarchy in limiting:
        assert Path(hierarchy.directory_path(f"/{name}")).is_dir()
    tool("cgdelete", "-g", f"*:/{name}")
    for hierarchy in limiting:
        assert not Path(hierarchy.directory_path(f"/{name}")).exists()


def test_no_controller_means_the_unified_hierarchy(tool, tools, name):
    if current().unified is None:
        tool("cgcreate", "-g", f":/{name}", status=84)
        return
    tool("cgcreate", "-g", f":/{name}")
    path = Path(current().unified.directory_path(f"/{name}"))
    assert path.is_dir()
    assert tool("lscgroup", "-g", f":/{name}").endswith(f":/{name}/\n")
    done = shell(tools, f"cgexec -g :{name} grep 0:: /proc/self/cgroup")
    assert (done.stdout, done.stderr, done.returncode) == (f"0::/{name}\n", "", 0)
    tool("cgdelete", f":{name}")
    assert not path.exists()


def test_owners_and_modes(tool, name, layout):
    nobody = pwd.getpwnam("nobody")
    tool("cgcreate", "-a", "nobody:", "-t", "daemon:daemon", "-d", "775", "-f", "664", "-s", "660",
         "-g", f"memory:/{name}")  # fmt: skip
    path = directory("memory", name)
    assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (nobody.pw_uid, 0o775)
    joining = (path / layout.holding("memory").join_file).stat()
    assert (joining.st_uid, joining.st_gid) == (pwd.getpwnam("daemon").pw_uid,) * 2
    assert stat.S_IMODE(joining.st_mode) == 0o660
    statistics = (path / "memory.stat").stat()  # nobody gets more than the owner has
    assert (statistics.st_uid, stat.S_IMODE(statistics.st_mode)) == (nobody.pw_uid, 0o444)


def test_an_unknown_user_is_an_error_and_nothing_is_made(tool, name):
    tool("cgcreate", "-a", "nosuchuser", "-g", f"memory:/{name}", status=255)
    assert tool.err == "cgcreate: can't find uid of user nosuchuser.\n"
    tool("cgcreate", "-t", "root:nosuchgroup", "-g", f"memory:/{name}", status=255)
    assert tool.err == "cgcreate: can't find gid of group nosuchgroup.\n"
    assert not directory("memory", name).exists()


@pytest.mark.parametrize("path", ["../x", "a/../../x", ".."])
def test_nobody_climbs_out(tool, name, path):
    tool("cgcreate", "-g", f"memory:{name}/{path}", status=91)
    tool("cgdelete", f"memory:{name}/{path}", status=91)
    tool("cgget", "-r", "memory.stat", f"{name}/{path}", status=96)
    assert not directory("memory", name).exists()


# ---- cgdelete ------------------------------------------------------------------------------


def test_it_is_removed_from_every_hierarchy_named(tool, name, controller):
    controller("pids")
    tool("cgcreate", "-g", f"memory,pids,cpu:/{name}")
    tool("cgdelete", f"memory,pids,cpu:{name}")
    for hierarchy in ("memory", "pids", "cpu"):
        assert not directory(hierarchy, name).exists()


def test_what_is_not_there_is_told_for_each(tool, name):
    tool("cgcreate", "-g", f"memory:/{name}")
    tool("cgdelete", f"memory:/{name}-no", f"memory:/{name}", status=96)
    assert f"'/{name}-no'" in tool.err and tool.err.count("\n") == 1
    assert not directory("memory", name).exists()
    tool("cgdelete", f"nonsense:/{name}", status=84)
    tool("cgdelete", "memory:/", status=91)


def test_one_with_children_stays_whole(tool, name, sleeper):
    tool("cgcreate", "-g", f"memory:/{name}/a/b")
    tool("cgclassify", "-g", f"memory:/{name}/a/b", sleeper.pid)
    tool("cgdelete", f"memory:/{name}/a", status=96)
    assert "cgdelete -r" in tool.err
    assert where(sleeper.pid, "memory") == f"/{name}/a/b"
    tool("cgdelete", "-r", f"memory:/{name}")
    assert not directory("memory", name).exists()
    assert where(sleeper.pid, "memory") == "/"


def test_a_delete_right_after_a_kill_works(tool, name):
    for _ in range(5):
        tool("cgcreate", "-g", f"memory:/{name}")
        processes = [subprocess.Popen(["sleep", "1000"]) for _ in range(5)]
        tool("cgclassify", "-g", f"memory:/{name}", *[p.pid for p in processes])
        for process in processes:
            process.kill()
        tool("cgdelete", f"memory:/{name}")  # nobody has waited for them yet
        for process in processes:
            assert process.wait() == -signal.SIGKILL
        assert not directory("memory", name).exists()


# ---- cgset and cgget -------------------------------------------------------------------------

#: (limit, memsw) one after the other: up and down, over smaller and larger ones, without a limit.
PAIRS = [
    ("200M", "300M"), ("100M", "150M"), ("400M", "400M"), ("50M", "600M"), ("60M", "60M"),
    ("-1", "-1"), ("70M", "70M"), ("80M", "-1"), ("90M", "91M"), ("-1", "-1"), ("64k", "1G"),
]  # fmt: skip


@pytest.mark.parametrize("turn", [1, -1])
def test_both_limits_in_one_call_in_either_order(tool, name, on_v1, turn):
    tool("cgcreate", "-g", f"memory:/{name}")
    if not (directory("memory", name) / "memory.memsw.limit_in_bytes").exists():
        pytest.skip("this kernel shows no memory.memsw")
    for limit, total in PAIRS:
        words = [f"memory.limit_in_bytes={limit}", f"memory.memsw.limit_in_bytes={total}"][::turn]
        tool("cgset", "-r", words[0], "-r", words[1], name)
        kept = tool("cgget", "-nv", "-r", "memory.limit_in_bytes", "-r",
                    "memory.memsw.limit_in_bytes", name).split()  # fmt: skip
        assert kept == [plain(limit), plain(total)]
    tool("cgset", "-r", "memory.limit_in_bytes=30M", "-r", "memory.memsw.limit_in_bytes=20M", name,
         status=96)  # fmt: skip
    assert "cannot be lower" in tool.err
    assert tool.value("memory.limit_in_bytes", name) == str(64 << 10)  # as before


def plain(text):
    from climits.cgroup.translate import kernel_size
    from climits.units import UNLIMITED

    size = kernel_size(text)
    return NO_LIMIT if size == UNLIMITED else str(size)


def test_several_groups_and_parameters_in_one_call(tool, name, controller, limit):
    controller("pids")
    tool("cgcreate", "-g", f"memory,pids:/{name}", "-g", f"memory,pids:/{name}-2")
    tool("cgset", "-r", f"{limit}=20M", "--rule", "pids.max=7", name, f"/{name}-2")
    out = tool("cgget", "-r", limit, "--variable=pids.max", name, f"/{name}-2")
    assert out == (
        f"{name}:\n{limit}: {20 * MIB}\npids.max: 7\n\n"
        f"/{name}-2:\n{limit}: {20 * MIB}\npids.max: 7\n\n"
    )
    assert tool("cgget", "-n", "-v", "-r", "pids.max", name) == "7\n"
    assert tool("cgget", "-v", "-r", "pids.max", name) == f"{name}:\n7\n\n"


def test_recursion_reaches_all_below(tool, name, controller):
    controller("pids")
    tool("cgcreate", "-g", f"pids:/{name}/a/b", "-g", f"pids:/{name}/c")
    groups = [name, f"{name}/a", f"{name}/a/b", f"{name}/c"]
    tool("cgset", "-R", "-r", "pids.max=9", name)
    assert [tool.value("pids.max", g) for g in groups] == ["9"] * 4
    tool("cgset", "-r", "pids.max=8", name)
    assert [tool.value("pids.max", g) for g in groups] == ["8", "9", "9", "9"]
    tool("cgxset", "-R", "-r", "pids.max=6", f"{name}/a")
    assert [tool.value("pids.max", g) for g in groups] == ["8", "6", "6", "9"]


def test_recursion_hands_controllers_down_and_takes_them_back(tool, name):
    unified = current().unified
    if unified is None or not unified.controllers:
        pytest.skip("no controllers on v2 here")
    controller = sorted(unified.controllers & {"pids", "hugetlb", "memory"})[0]
    tool("cgcreate", "-g", f"{controller}:/{name}", "-g", f":/{name}/a/b")
    tool("cgset", "-R", "-r", f"cgroup.subtree_control=+{controller}", name)
    assert controller in tool.value("cgroup.controllers", f"{name}/a/b").split()
    assert tool.value("cgroup.subtree_control", f"{name}/a/b") == ""  # a leaf
    tool("cgset", "-R", "-r", f"cgroup.subtree_control=-{controller}", name)
    assert controller not in tool.value("cgroup.subtree_control", name).split()


def test_parameters_are_copied(tool, name, controller, limit):
    controller("pids")
    tool("cgcreate", "-g", f"memory,pids:/{name}", "-g", f"memory:/{name}-2")
    tool("cgset", "-r", f"{limit}=20M", "-r", "pids.max=7", name)
    tool("cgset", "--copy-from", name, f"{name}-2")
    assert tool.value(limit, f"{name}-2") == str(20 * MIB)
    tool("cgset", "--copy-from", f"{name}-no", name, status=82)


def test_what_the_group_does_not_have_fails(tool, name, controller, limit):
    controller("cpuset")
    tool("cgcreate", "-g", f"memory:/{name}/x")
    name = f"{name}/x"  # on v2 the root may hand down more than was asked for
    tool("cgset", "-r", "memory.nonsense=1", name, status=95)
    tool("cgset", "-r", "cpuset.cpus=0", name, status=95)  # it is not in that controller
    tool("cgset", "-r", f"{limit}=1M", f"{name}-no", status=95)
    tool("cgset", "-r", "nonsense.x=1", name, status=84)
    tool("cgget", "-r", "cpuset.cpus", name, status=96)
    tool("cgget", "-g", "cpuset", name, status=96)
    tool("cgget", "-g", f"cpuset:{name}", status=96)
    tool("cgget", "-r", "memory.nonsense", name, status=96)
    assert tool.err.startswith("cgget: variable file read failed")
    tool("cgget", "-r", "nonsense.x", name, status=96)
    assert tool.err.startswith("cgget: cannot find controller 'nonsense' in group")
    tool("cgget", "-a", f"{name}-no", status=96)
    tool("cgget", f"{name}-no", status=96)
    assert tool.out == ""


def test_the_kernel_s_refusal_is_told(tool, name, limit):
    tool("cgcreate", "-g", f"memory:/{name}")
    tool("cgset", "-r", f"{limit}=abc", name, status=96)
    assert "the kernel refuses the value" in tool.err and tool.err.count("\n") == 1
    tool("cgset", "-r", "memory.stat=1", name, status=96)
    # The kernel would take it for 0.
    tool("cgset", "-r", f"{limit}=18446744073709551616", name, status=91)
    tool("cgxset", "-1", "-r", "memory.limit_in_bytes=16E", name, status=91)


def test_the_other_version_s_name_is_explained(tool, name, memory_v1):
    tool("cgcreate", "-g", f"memory:/{name}")
    wrong, option = ("memory.max", "-2") if memory_v1 else ("memory.limit_in_bytes", "-1")
    for words in (["cgget", "-r", wrong], ["cgset", "-r", f"{wrong}=1M"]):
        tool(*words, name, status=96 if words[0] == "cgget" else 95)
        assert f"cgxget and cgxset {option} translate" in tool.err and tool.err.count("\n") == 1


def test_a_cpuset_without_cpus_is_explained(tools, tool, name, controller):
    controller("cpuset")
    tool("cgcreate", "-g", f"cpuset:/{name}")
    done = shell(tools, f"cgexec -g cpuset:{name} true")
    if not current().holding("cpuset").delegates:  # on v2 what is empty is the parent's
        assert done.returncode == 96
        assert "set cpuset.cpus and cpuset.mems first" in done.stderr


def test_all_parameters_of_a_group(tool, name, limit):
    tool("cgcreate", "-g", f"memory:/{name}")
    out = tool("cgget", "-g", "memory", name)
    lines = out.split("\n")
    assert lines[0] == f"{name}:" and out.endswith("\n\n")
    named = {line.partition(": ")[0] for line in lines[1:-2] if not line.startswith("\t")}
    assert limit in named and "memory.stat" in named
    assert all(name.startswith("memory.") for name in named)
    every = tool("cgget", "-a", name)
    assert named <= names_in(every)
    assert names_in(tool("cgget", name)) == names_in(every)


def names_in(listing):
    return {line.partition(": ")[0] for line in listing.split("\n") if line[:1] != "\t"}


# ---- between the versions ----------------------------------------------------------------------


def test_a_limit_in_the_other_version_s_words(tool, name):
    tool("cgcreate", "-g", f"memory:/{name}")
    ask = ("cgxget", "-n", "-v")
    tool("cgxset", "-1", "-r", "memory.limit_in_bytes=40960000", name)
    assert tool(*ask, "-1", "-r", "memory.limit_in_bytes", name) == "40960000\n"
    assert tool(*ask, "-2", "-r", "memory.max", name) == "40960000\n"
    tool("cgxset", "--v2", "-r", "memory.max=max", name)
    assert tool(*ask, "-2", "-r", "memory.max", name) == "max\n"
    assert tool(*ask, "--v1", "-r", "memory.limit_in_bytes", name) == f"{NO_LIMIT}\n"
    tool("cgxset", "-1", "-r", "memory.limit_in_bytes=-1", name)
    assert tool(*ask, "-2", "-r", "memory.max", name) == "max\n"
    tool("cgxset", "-1", "-r", "memory.soft_limit_in_bytes=819200", name)
    assert tool(*ask, "-2", "-r", "memory.high", name) == "819200\n"
    tool("cgxset", "-2", "-r", "memory.high=8192", name)
    assert tool(*ask, "-1", "-r", "memory.soft_limit_in_bytes", name) == "8192\n"
    for version, parameter in ((1, "memory.limit_in_bytes"), (2, "memory.max")):
        with_error = main.run("cgxset", [f"-{version}", "-r", f"{parameter}=-10", name])
        assert with_error in (91, 96)


@pytest.mark.parametrize("turn", [1, -1])
def test_memory_and_swap_in_either_s_words_and_order(tool, name, turn):
    tool("cgcreate", "-g", f"memory:/{name}")
    path = directory("memory", name)
    if not any((path / f).exists() for f in ("memory.swap.max", "memory.memsw.limit_in_bytes")):
        pytest.skip("this kernel does not account for swap")
    pairs = [(200, 300), (100, 100), (400, 500), (50, 600)]
    for limit, total in pairs:
        words = [f"memory.limit_in_bytes={limit * MIB}",
                 f"memory.memsw.limit_in_bytes={total * MIB}"][::turn]  # fmt: skip
        tool("cgxset", "-1", "-r", words[0], "-r", words[1], name)
        out = tool("cgxget", "-2nv", "-r", "memory.max", "-r", "memory.swap.max", name)
        assert out.split() == [str(limit * MIB), str((total - limit) * MIB)]
        words = [f"memory.max={total * MIB}", f"memory.swap.max={limit * MIB}"][::turn]
        tool("cgxset", "-2", "-r", words[0], "-r", words[1], name)
        out = tool("cgxget", "-1nv", "-r", "memory.limit_in_bytes", "-r",
                   "memory.memsw.limit_in_bytes", name)  # fmt: skip
        assert out.split() == [str(total * MIB), str((total + limit) * MIB)]


def test_cpu_in_either_s_words(tool, name, controller):
    controller("cpu")
    tool("cgcreate", "-g", f"cpu:/{name}")
    table = [
        ("1", "cpu.shares=512", "2", "cpu.weight", "50"),
        ("2", "cpu.weight=200", "1", "cpu.shares", "2048"),
        ("1", "cpu.cfs_quota_us=10000", "1", "cpu.cfs_quota_us", "10000"),
        ("1", "cpu.cfs_period_us=50000", "2", "cpu.max", "10000 50000"),
        ("1", "cpu.cfs_quota_us=-1", "2", "cpu.max", "max 50000"),
        ("2", "cpu.max=6000 26000", "1", "cpu.cfs_quota_us", "6000"),
        ("2", "cpu.max=7000 27000", "1", "cpu.cfs_period_us", "27000"),
        ("2", "cpu.max=max 41000", "1", "cpu.cfs_quota_us", "-1"),
    ]
    for version, setting, other, parameter, value in table:
        tool("cgxset", f"-{version}", "-r", setting, name)
        assert tool("cgxget", f"-{other}nv", "-r", parameter, name) == f"{value}\n", setting


def test_cpuset_in_either_s_words(tool, name, controller):
    controller("cpuset")
    tool("cgcreate", "-g", f"cpuset:/{name}")
    for version in "12":
        tool("cgxset", f"-{version}", "-r", "cpuset.cpus=0", "-r", "cpuset.mems=0", name)
        for other, parameter in (
            ("1", "cpuset.cpus"), ("2", "cpuset.mems"), ("1", "cpuset.effective_cpus"),
            ("2", "cpuset.cpus.effective"), ("1", "cpuset.effective_mems"),
            ("2", "cpuset.mems.effective"),
        ):  # fmt: skip
            assert tool("cgxget", f"-{other}nv", "-r", parameter, name) == "0\n"
    assert tool("cgxget", "-2nv", "-r", "cpuset.cpus.partition", name) == "member\n"
    assert tool("cgxget", "-1nv", "-r", "cpuset.cpu_exclusive", name) == "0\n"
    tool("cgxset", "-2", "-r", "cpuset.cpus.partition=member", name)
    tool("cgxset", "-1", "-r", "cpuset.cpu_exclusive=0", name)


def test_what_has_no_counterpart_is_refused_or_left_out(tool, name, memory_v1):
    tool("cgcreate", "-g", f"memory:/{name}")
    other, parameter = ("2", "memory.min") if memory_v1 else ("1", "memory.swappiness")
    tool("cgxget", f"-{other}", "-r", parameter, name, status=111)
    assert parameter in tool.err
    assert tool("cgxget", f"-{other}n", "-i", "-r", parameter, name) == ""
    tool("cgxset", f"-{other}", "-r", f"{parameter}=0", name, status=111)
    tool("cgxset", f"-{other}", "--ignore-unmappable", "-r", f"{parameter}=0", name)
    listed = tool("cgxget", f"-{other}n", "-g", f"memory:{name}")
    assert ("memory.max: " if memory_v1 else "memory.limit_in_bytes: ") in listed
    assert parameter not in listed


# ---- cgexec and cgclassify ---------------------------------------------------------------------


def test_the_command_is_this_process(tools, name, tool):
    tool("cgcreate", "-g", f"memory:/{name}")
    process = subprocess.Popen(
        [tools / "cgexec", "-g", f"memory:{name}", "sleep", "1000"], stderr=subprocess.PIPE
    )
    try:
        until(lambda: command(process.pid) == "sleep")
        assert where(process.pid, "memory") == f"/{name}"
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert process.stderr.read() == b""
    process.stderr.close()


def command(pid):
    return Path(f"/proc/{pid}/comm").read_text().strip()


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["sh", "-c", "exit 7"], 7, ""),
        (["sh", "-c", "kill -9 $$"], -9, ""),
        (["--", "true"], 0, ""),
        (["nonexistent-command"], 255, "command not found"),
        (["/etc/passwd"], 255, "permission denied"),
    ],
)
def test_the_status_is_the_command_s_own(tools, name, tool, words, status, text):
    tool("cgcreate", "-g", f"memory:/{name}")
    done = subprocess.run(
        [tools / "cgexec", "--sticky", "-g", f"memory:/{name}", *words], capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == status
    assert text in done.stderr and done.stderr.count("\n") == bool(text)


def test_nothing_moves_where_one_group_is_missing(tools, name, tool):
    tool("cgcreate", "-g", f"memory:/{name}")
    done = subprocess.run(
        [tools / "cgexec", "-g", f"memory:{name}", "-g", f"cpu:{name}-no", "echo", "started"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (82, "")
    assert "cgroup change of group failed" in done.stderr


def test_one_bad_pid_does_not_stop_the_others(tool, name, sleeper):
    tool("cgcreate", "-g", f"memory:/{name}")
    tool("cgclassify", "-g", f"memory:{name}", "abc", sleeper.pid, status=2)
    assert tool.err == "Error: abc is not valid pid.\n"
    assert where(sleeper.pid, "memory") == f"/{name}"
    tool("cgclassify", "-g", f"memory:{name}-no", sleeper.pid, status=1)
    ended = subprocess.Popen(["true"])
    ended.wait()
    tool("cgclassify", "--cancel-sticky", "-g", f"memory:{name}", ended.pid, sleeper.pid, status=1)
    assert tool.err.startswith(f"Error changing group of pid {ended.pid}: ")
    for word in ("0", "-1", "99999999999999999999"):
        tool("cgclassify", "-g", f"memory:{name}", "--", word, status=2)


def test_a_process_goes_with_all_its_threads(tool, name):
    code = (
        "import threading, time; "
        "[threading.Thread(target=time.sleep, args=(1000,), daemon=True).start() for _ in '123']; "
        "print('ready', flush=True); time.sleep(1000)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"ready\n"
        tool("cgcreate", "-g", f"memory:/{name}")
        tool("cgclassify", "-g", f"memory:{name}", process.pid)
        threads = list(Path(f"/proc/{process.pid}/task").iterdir())
        assert len(threads) == 4
        for thread in threads:
            assert f"/{name}\n" in (thread / "cgroup").read_text()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_rules_name_the_group(tool, name, sleeper, tmp_path, monkeypatch):
    file = tmp_path / "cgrules.conf"
    monkeypatch.setattr(rules, "FILE", str(file))
    monkeypatch.setattr(rules, "FOLDER", str(tmp_path / "none"))
    tool("cgclassify", sleeper.pid, status=1)  # no such file
    file.write_text(
        f"# comment\nnosuchuser memory {name}-no\n@nosuchgroup * {name}-no\n"
        f"root:other-command memory {name}-no\n"
        f"root:sleep memory {name}/%U\n%  pids {name}/%P\n* * /\n"
    )
    tool("cgclassify", sleeper.pid)
    assert where(sleeper.pid, "memory") == f"/{name}/{'sleep' if one_tree() else 'root'}"
    if current().find("pids"):
        assert where(sleeper.pid, "pids") == f"/{name}/sleep"
    file.write_text("root memory\n")
    tool("cgclassify", sleeper.pid, status=1)
    assert "line 1" in tool.err


def one_tree():
    return current().find("pids") is current().find("memory")


# ---- lists -----------------------------------------------------------------------------------


def test_groups_are_listed(tool, name):
    tool("cgcreate", "-g", f"memory:/{name}/a/b", "-g", f"memory:/{name}-2")
    out = tool("lscgroup", f"memory:{name}")
    label = out.partition(":")[0]
    assert "memory" in label.split(",")
    assert out == f"{label}:/{name}/\n{label}:/{name}/a\n{label}:/{name}/a/b\n"
    everything = tool("lscgroup").splitlines()
    for path in ("/", f"/{name}", f"/{name}/a/b", f"/{name}-2"):
        assert f"{label}:{path}" in everything
    assert tool("lscgroup", "-g", f"memory:/{name}-no") == ""
    tool("lscgroup", "nonsense:/", status=93)


def test_controllers_are_listed(tool):
    lines = tool("lssubsys").splitlines()
    every = tool("lssubsys", "-a").splitlines()
    assert set(lines) <= set(every)
    mounted = dict(line.rsplit(" ", 1) for line in tool("lssubsys", "-m").splitlines())
    numbers = dict(line.rsplit(" ", 1) for line in tool("lssubsys", "-i").splitlines())
    assert list(mounted) == list(numbers) == lines
    for names, point in mounted.items():
        for controller in names.split(","):
            assert current().holding(controller).mount_point == point
    assert all(number.isdigit() and number != "0" for number in numbers.values())
    assert tool("lssubsys", "nonsense") == ""
    if "memory" in lines:  # a hierarchy of its own: separate mounts
        assert tool("lssubsys", "-m", "memory") == f"memory {mounted['memory']}\n"
        assert tool("lssubsys", "-M", "memory").splitlines()[0] == f"memory {mounted['memory']}"


# ---- snapshots and configuration files ---------------------------------------------------------


def test_a_snapshot_can_be_loaded(tool, name, tmp_path, controller):
    controller("pids")
    tool("cgcreate", "-a", "daemon:daemon", "-g", f"pids:/{name}")
    tool("cgset", "-r", "pids.max=77", name)
    file, allowed = tmp_path / "saved.conf", tmp_path / "allow"
    allowed.write_text("pids.max\n")
    tool("cgsnapshot", "-s", "-b", "/dev/null", "-t", "-w", allowed, "-f", file, "pids")
    text = file.read_text()
    start = text.index(f"group {name} {{")
    block = text[start : text.index("\n}\n", start) + 3]
    assert 'pids.max="77";' in block and "perm {" in block and "pids.current" not in block
    file.write_text(block)
    tool("cgdelete", f"pids:{name}")
    tool("cgconfigparser", "-l", file)
    assert tool.value("pids.max", name) == "77"
    assert directory("pids", name).owner() == "daemon"


def test_lists_of_parameters_rule_the_snapshot(tool, name, tmp_path, controller):
    controller("pids")
    tool("cgcreate", "-g", f"pids:/{name}")
    denied, allowed = tmp_path / "deny", tmp_path / "allow"
    denied.write_text("# comment\n\npids.max and more\n")
    allowed.write_text("pids.max\n")
    assert "pids.max" not in tool("cgsnapshot", "-s", "-b", denied, "pids")
    assert "pids.max" in tool("cgsnapshot", "-b", "/dev/null", "-t", "-w", allowed, "pids")
    assert "pids.max" not in tool("cgsnapshot", "-b", "/dev/null", "-t", "pids")
    assert main.run("cgsnapshot", ["-b", "/dev/null", "pids"]) == 0
    tool("cgsnapshot", "-b", tmp_path / "none", status=129)
    assert "/dev/null" in tool.err


CONFIG = """\
default {{ perm {{ task {{ uid = daemon; }} }} }}
group {name} {{
    perm {{
        task {{ uid = root; gid = daemon; fperm = 770; }}
        admin {{ uid = nobody; dperm = 775; fperm = 744; }}
    }}
    memory {{ {limit} = 100M; }}
}}
group {name}/x {{ memory {{}} }}
"""


def test_a_configuration_is_made(tool, name, limit, tmp_path, layout):
    file = tmp_path / "a.conf"
    file.write_text(CONFIG.format(name=name, limit=limit))
    tool("cgconfigparser", "-L", tmp_path)
    assert tool.value(limit, name) == str(100 * MIB)
    path, joining = directory("memory", name), layout.holding("memory").join_file
    assert (path.owner(), stat.S_IMODE(path.stat().st_mode)) == ("nobody", 0o775)
    assert (path / joining).group() == "daemon"
    assert stat.S_IMODE((path / joining).stat().st_mode) & 0o060 == 0o060
    assert (path / "x" / joining).owner() == "daemon"
    tool("cgconfigparser", "-l", file)  # once more: it is there


@pytest.mark.parametrize(
    ("text", "status", "cause"),
    [
        ("group {name} {{ memory {{ a b }} }}", 104, "line 1"),
        ("group {name} {{ nonsense {{ }} }}", 84, "nonsense"),
        ("group {name} {{ memory {{ memory.nonsense = 5; }} }}", 95, "memory.nonsense"),
        ("group {name} {{ memory {{ {limit} = abc; }} }}", 96, "abc"),
        ("group {name} {{ perm {{ admin {{ uid = nosuch; }} }} memory {{ }} }}", 255, "nosuch"),
        ("group {name}/../.. {{ memory {{ }} }}", 91, "not a cgroup path"),
        ("group {name} {{ }}", 91, "no controller"),
    ],
)
def test_a_configuration_that_fails_leaves_nothing(
    tool, name, limit, tmp_path, text, status, cause
):
    file = tmp_path / "a.conf"
    file.write_text(text.format(name=name, limit=limit))
    tool("cgconfigparser", "-l", file, status=status)
    assert tool.err.startswith(f"cgconfigparser: error loading {file}: ") and cause in tool.err
    assert not directory("memory", name).exists()


def test_what_was_there_before_survives_a_configuration_that_fails(tool, name, tmp_path):
    tool("cgcreate", "-g", f"memory:/{name}")
    file = tmp_path / "a.conf"
    file.write_text(f"group {name} {{ memory {{ memory.nonsense = 5; }} }}")
    tool("cgconfigparser", "-l", tmp_path / "none", "-l", file, status=96)
    assert tool.err.count("\n") == 2
    assert directory("memory", name).exists()


@pytest.mark.vm_only
def test_hierarchies_are_mounted(tools, tmp_path):
    """In a process of its own: the layout is read once."""
    file, point = tmp_path / "a.conf", tmp_path / "tracking"
    name = f"climits{time.monotonic_ns()}"
    file.write_text(
        f'mount {{\n "name={name},nodev" = {point};\n}}\n'
        f'group climits-m {{ "name={name}" {{ }} }}\n'
    )
    script = f"""
        set -e
        cgconfigparser -l {file}
        cgconfigparser -l {file}
        ls -d {point}/climits-m
        lscgroup -g name={name}:/
        cgsnapshot -s -b /dev/null name={name}
        cgexec -g name={name}:climits-m grep -c {name}:/climits-m /proc/self/cgroup
        cgdelete name={name}:climits-m
        umount {point}
    """
    done = shell(tools, script)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{point}/climits-m\nname={name}:/\nname={name}:/climits-m\n" in done.stdout
    assert f'"name={name}" = {point};' in done.stdout
    assert done.stdout.endswith("\n1\n")


@pytest.mark.vm_only
def test_a_mount_that_the_kernel_refuses(tools, tmp_path):
    file = tmp_path / "a.conf"
    file.write_text(f"mount {{ nonsense = {tmp_path}/x; }}\n")
    done = shell(tools, f"cgconfigparser -l {file}")
    assert done.returncode == 101
    assert "cannot mount nonsense" in done.stderr and done.stderr.count("\n") == 1


# ---- an ordinary user --------------------------------------------------------------------------


def test_an_ordinary_user_is_told_and_may_use_what_is_theirs(tools, tool, name, limit):
    if not IN_VM and not os.access("/tmp", os.W_OK):
        pytest.skip("no place for the tools")
    tool("cgcreate", "-a", "nobody", "-t", "nobody", "-g", f"memory:/{name}",
         "-g", f"memory:/{name}-2")  # fmt: skip
    os.chown(directory("memory", f"{name}-2"), 0, 0)
    nobody = pwd.getpwnam("nobody").pw_uid

    def run(*words):
        return subprocess.run(
            [sys.executable, "-c", f"import os, sys; os.setuid({nobody}); sys.path[:0] = []; "
             f"from climits.cli.cgtools import main; sys.exit(main.run({words[0]!r}, "
             f"{list(words[1:])!r}))"], capture_output=True, text=True, cwd="/",
        )  # fmt: skip

    done = run("cgset", "-r", f"{limit}=30M", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert tool.value(limit, name) == str(30 * MIB)
    done = run("cgcreate", "-g", f"memory:/{name}-3")
    assert done.returncode == 87 and done.stderr.count("\n") == 1 and "hint" in done.stderr
