"""The originals of cgroup-tools and ours, run beside each other with the same arguments.

Standard output and exit status are the same, and success leaves standard error empty, but where
the originals are wrong or libcgroup 3 is of another mind: each such case stands here by name.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import PATIENCE, until
from test_cgtools import Tool, directory, remove, where

from climits.cgroup.layout import current
from climits.cli.cgtools import main

ORIGINALS = "/usr/bin:/usr/sbin"


@pytest.fixture(autouse=True)
def originals():
    found = shutil.which("cgget", path=ORIGINALS)
    if found is None:
        pytest.skip("cgroup-tools is not installed here: there is nothing to run beside ours")
    said = subprocess.run([found, "--help"], capture_output=True, text=True)
    if said.returncode != 0:
        pytest.skip(f"the installed cgget does not run: {said.stderr}")


class Original:
    """Runs the original of a tool."""

    def __init__(self):
        self.out, self.err, self.status = "", "", 0

    def __call__(self, tool, *words):
        done = subprocess.run(
            [tool, *map(str, words)], executable=shutil.which(tool, path=ORIGINALS),
            capture_output=True, text=True, timeout=30 * PATIENCE, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        self.out, self.err, self.status = done.stdout, done.stderr, done.returncode
        return self.out


class Both:
    """Runs both."""

    def __init__(self, capfd):
        self.original, self.ours, self.capfd = Original(), Tool(capfd), capfd
        self.status = 0

    def __call__(self, tool, *words):
        """Run both; returns (the original's output, ours)."""
        theirs = self.original(tool, *words)
        self.capfd.readouterr()
        self.status = main.run(tool, [str(word) for word in words])
        sys.stdout.flush()
        self.ours.out, self.ours.err = self.capfd.readouterr()
        if self.status == 0 and tool != "cgsnapshot":
            assert self.ours.err == ""
        if self.status != 0:
            assert self.ours.err or self.ours.out
        return theirs, self.ours.out

    def agree(self, tool, *words):
        """Both print the same and end the same."""
        theirs, ours = self(tool, *words)
        assert ours == theirs
        assert self.status == self.original.status, (self.original.err, self.ours.err)
        return ours


@pytest.fixture
def both(capfd):
    return Both(capfd)


@pytest.fixture
def name():
    """A name with climits-beside/a/b and a sibling, in memory's hierarchy and cpu's."""
    name = f"climits-beside-{os.getpid()}"
    for spec in (f"memory,cpu:/{name}", f"memory:/{name}/a/b", f"memory:/{name}-2"):
        assert main.run("cgcreate", ["-g", spec]) == 0
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


another_sleeper = sleeper


@pytest.fixture
def limit(memory_v1):
    return "memory.limit_in_bytes" if memory_v1 else "memory.max"


# ---- what only reads ---------------------------------------------------------------------------

GET = [
    "-r {limit} {name}",
    "-r {limit} /{name}",
    "-r {limit} -r {weight} {name}",
    "-r {limit} {name} {name}/a /{name}-2",
    "-n -r {limit} {name}",
    "-v -r {limit} {name}",
    "-nv -r {limit} -r memory.stat {name}",
    "-nvr {limit} {name}",
    "{name} -n -r {limit}",
    "-n -r {limit} -- {name}",
    "--variable={limit} --values-only {name}",
    "--var {limit} {name}",
    "-r memory.stat {name}",
    "-r {limit} {name}/a/",
    "-r memory.nonsense {name}",
    "-r nonsense.x {name}",
    "-r nodot {name}",
    "-r {limit} {name}-no",
    "-r {weight} {name}-2",
    "-g cpu {name}",
    "-g cpu:{name}",
    "-g cpu:/{name} -g cpu:{name}",
    "-g cpu -n {name}",
    "-r memory.pressure_level {name}",
    "-r memory.force_empty {name}",
]


@pytest.mark.parametrize("words", GET)
def test_cgget(both, name, limit, words, memory_v1):
    weight = "cpu.shares" if memory_v1 else "cpu.weight"
    both.agree("cgget", *words.format(name=name, limit=limit, weight=weight).split())


@pytest.mark.parametrize(
    "words", ["-g memory:{name}", "-g memory,cpu:{name}", "-a {name}", "{name}"]
)
def test_cgget_of_everything(both, name, words):
    """Figures move while we look: the order of the parameters and the limits do not."""
    theirs, ours = both("cgget", *words.format(name=name).split())
    assert [line.partition(": ")[0] for line in ours.split("\n") if line[:1] != "\t"] == [
        line.partition(": ")[0] for line in theirs.split("\n") if line[:1] != "\t"
    ]
    steady = [line for line in theirs.split("\n") if "limit" in line or ".max:" in line]
    assert steady and set(steady) <= set(ours.split("\n"))
    assert both.status == both.original.status == 0


@pytest.mark.parametrize(
    "words",
    [
        "memory:{name}", "-g memory:/{name}", "--group=memory:{name}/", "memory:{name}/a",
        "memory:{name} memory:{name}-2", "memory,cpu:{name}", "cpu,memory:{name}",
        "memory:{name}-no", "nonsense:/{name}", "memory",
    ],
)  # fmt: skip
def test_lscgroup(both, name, words):
    both.agree("lscgroup", *words.format(name=name).split())


def test_lscgroup_of_everything(both, name):
    """Others' cgroups come and go: compare the roots and ours."""
    theirs, ours = both("lscgroup")
    assert [line for line in ours.splitlines() if name in line or line.endswith(":/")] == [
        line for line in theirs.splitlines() if name in line or line.endswith(":/")
    ]
    assert both.status == both.original.status == 0


@pytest.mark.parametrize("words", ["", "-a", "-m", "-i", "-am", "-aM", "memory", "-m memory cpu",
                                   "-i cpu", "nonsense", "--all --mount-points"])  # fmt: skip
def test_lssubsys(both, words, layout):
    theirs, ours = both("lssubsys", *words.split())
    assert both.status == 0
    if layout.mode == "mixed":
        # The original counts the controllers of v2 to every v1 hierarchy.
        assert not any("memory" in line.split(",") for line in ours.splitlines() if "," in line)
    elif both.original.status == 82:
        # With v1 and v2 mounted beside each other the original gives up on the v1 ones.
        assert theirs in ours
    else:
        assert ours == theirs


def blocks(text, name):
    """The lines above the first group, and the groups of that name."""
    head, *groups = text.split("\ngroup ")
    return [head.rstrip("\n"), *[g.rstrip("\n") for g in groups if g.startswith(name)]]


@pytest.mark.parametrize(
    "words", ["-s", "-s memory", "-s cpu memory", "-st", "-s -t -w {file} memory", "-s nonsense",
              "--silent --strict cpu"],
)  # fmt: skip
def test_cgsnapshot(both, name, tmp_path, words):
    denied, allowed = tmp_path / "deny", tmp_path / "allow"
    denied.write_text("# moves\nmemory.max_usage_in_bytes\nmemory.memsw.max_usage_in_bytes\n"
                      "memory.kmem.max_usage_in_bytes\nmemory.peak\nmemory.pressure\n"
                      "cpu.pressure\nio.pressure\nmemory.swap.peak\n")  # fmt: skip
    allowed.write_text("memory.limit_in_bytes\nmemory.max\n")
    theirs, ours = both("cgsnapshot", "-b", denied, *words.format(file=allowed).split())
    assert blocks(ours, name) == blocks(theirs, name)
    assert both.status == both.original.status == 0


def test_cgsnapshot_warns_of_the_same(both, name):
    both("cgsnapshot", "-b", "/dev/null", "cpu")
    assert both.ours.err == both.original.err != ""


# ---- what changes something: each in a group of its own --------------------------------------


def twice(both, name, tool, *words):
    """The original in /NAME, ours in /NAME-2; returns both outputs in the name of the first."""
    theirs = both.original(tool, *[str(w).replace("GROUP", name) for w in words])
    both.capfd.readouterr()
    both.status = main.run(tool, [str(w).replace("GROUP", f"{name}-2") for w in words])
    sys.stdout.flush()
    both.ours.out, both.ours.err = both.capfd.readouterr()
    if both.status == 0:
        assert both.ours.err == ""
    assert both.ours.out.replace(f"{name}-2", name) == theirs
    return both.original.status, both.status


@pytest.mark.parametrize(
    "words",
    [
        "-r {limit}=100M GROUP", "-r {limit}=123456789 GROUP", "--rule {limit}=50M /GROUP",
        "GROUP -r {limit}=1G", "-r {limit}=abc GROUP", "-r memory.nonsense=1 GROUP",
        "-r nonsense.x=1 GROUP", "-r {limit}=1M GROUP-no", "-r memory.stat=1 GROUP",
        "-r {limit}=-1 GROUP",
    ],
)  # fmt: skip
def test_cgset(both, name, limit, words):
    theirs, ours = twice(both, name, "cgset", *words.format(limit=limit).split())
    assert ours == theirs
    assert value(name, limit) == value(f"{name}-2", limit)


def value(name, file):
    return (directory("memory", name) / file).read_text()


def test_cgset_copy_from(both, name, limit):
    assert main.run("cgset", ["-r", f"{limit}=64M", f"{name}/a"]) == 0
    theirs, ours = twice(both, name, "cgset", f"--copy-from={name}/a", "GROUP")
    assert ours == theirs == 0
    assert value(name, limit) == value(f"{name}-2", limit) == value(f"{name}/a", limit)


@pytest.mark.parametrize(
    "words",
    [
        "-g memory:/GROUP", "-g memory:GROUP/x/y", "-g memory,cpu:/GROUP/x", "-g nonsense:/GROUP/x",
        "-a nobody:nogroup -g memory:/GROUP/x", "-t daemon -g memory:/GROUP/x",
        "-t :daemon -a nobody -g memory:/GROUP/x", "-d 700 -f 664 -s 660 -g memory:/GROUP/x",
        "--dperm=777 --fperm=777 --tperm=777 -g memory:/GROUP/x", "-d 999 -g memory:/GROUP/x",
        "-f 64 -g memory:/GROUP/x",
    ],
)  # fmt: skip
def test_cgcreate(both, name, words, memory_v1):
    if not memory_v1 and {"-t", "-s"} & set(words.split()):
        pytest.skip("the original knows no file for tasks on v2; libcgroup 3 takes cgroup.procs")
    theirs, ours = twice(both, name, "cgcreate", *words.split())
    assert ours == theirs
    assert tree(directory("memory", name), "x*") == tree(directory("memory", f"{name}-2"), "x*")


def tree(path, pattern):
    """Owners and modes of what was made."""
    return [
        (str(p.relative_to(path)), p.stat().st_mode, p.stat().st_uid, p.stat().st_gid)
        for top in path.glob(pattern)
        for p in [top, *sorted(top.rglob("*"))]
    ]


@pytest.mark.parametrize(
    "words",
    ["memory:GROUP", "-g memory:/GROUP", "-r memory:GROUP", "-r -g memory:GROUP/",
     "memory:GROUP-no", "nonsense:/GROUP", "memory:GROUP/c", "--recursive --group memory:GROUP"],
)  # fmt: skip
def test_cgdelete(both, name, words, sleeper, another_sleeper):
    for group, process in ((name, sleeper), (f"{name}-2", another_sleeper)):
        assert main.run("cgcreate", ["-g", f"memory:/{group}/c"]) == 0
        assert main.run("cgclassify", ["-g", f"memory:/{group}/c", str(process.pid)]) == 0
    theirs, ours = twice(both, name, "cgdelete", *words.split())
    assert ours == theirs
    for suffix in ("", "/c"):
        assert (
            directory("memory", name + suffix).exists()
            == directory("memory", f"{name}-2{suffix}").exists()
        )
    paths = [where(process.pid, "memory") for process in (sleeper, another_sleeper)]
    assert paths[1].replace(f"{name}-2", name) == paths[0]


@pytest.mark.parametrize(
    "words",
    [
        "-g memory:{name} {pid}", "-g memory:/{name}/a {pid}", "--sticky -g memory:{name} {pid}",
        "-g memory:{name} abc", "-g memory:{name} {pid} abc", "-g memory:{name} abc {pid}",
        "-g memory:{name}-no {pid}", "-g nonsense:{name} {pid}", "-g memory:{name}",
        "--cancel-sticky -g memory:{name} {pid}", "-g memory:{name} 4194303",
    ],
)  # fmt: skip
def test_cgclassify(both, name, words, sleeper):
    both.agree("cgclassify", *words.format(name=name, pid=sleeper.pid).split())


@pytest.mark.parametrize(
    "words",
    [
        "-g memory:{name} echo hi", "-g memory:/{name} -g cpu:{name} cat /proc/self/cgroup",
        "-g memory:{name} -- echo -g", "--sticky -g memory:{name} echo hi",
        "-g memory:{name}-no echo hi", "-g nonsense:{name} echo hi",
        "-g memory:{name} nonexistent-command", "-g memory:{name} /etc/passwd",
        "-g memory,cpu:{name} sh -c false",
    ],
)  # fmt: skip
def test_cgexec(both, name, words, tools):
    words = words.format(name=name).split()
    both.original("cgexec", *words)
    done = subprocess.run([tools / "cgexec", *words], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == (both.original.out, both.original.status)
    if done.returncode == 0:
        assert done.stderr == ""


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    from climits.cli.main import dispatch

    folder = tmp_path_factory.mktemp("tools")
    assert dispatch(["cgtools", "install", str(folder), "--quiet"]) == 0
    return folder


def test_cgconfigparser(both, name, limit, tmp_path, memory_v1):
    file = tmp_path / "x.conf"
    text = (
        "group GROUP/x { perm { task { uid = root; gid = daemon; fperm = 770; }\n"
        "admin { uid = root; gid = root; dperm = 775; fperm = 744; } }\n"
        f'memory {{ {limit} = "64M"; }} }}\n'
    )
    file.write_text(text.replace("GROUP", name))
    both.original("cgconfigparser", "-l", file)
    assert both.original.status == 0
    file.write_text(text.replace("GROUP", f"{name}-2"))
    assert main.run("cgconfigparser", ["-l", str(file)]) == 0
    assert value(f"{name}/x", limit) == value(f"{name}-2/x", limit)
    if not memory_v1:
        return  # see test_cgcreate
    assert tree(directory("memory", name), "x*") == tree(directory("memory", f"{name}-2"), "x*")


@pytest.mark.parametrize("words", ["-l {folder}/none", "-L {folder}/none", "-d 99", "-a nosuch:x"])
def test_cgconfigparser_fails_the_same(both, tmp_path, words):
    both("cgconfigparser", *words.format(folder=tmp_path).split())
    assert both.status == both.original.status != 0


# ---- where they differ, and why ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ("cgget", []), ("cgget", ["-x"]), ("cgget", ["-r", "memory.stat"]), ("cgget", ["-r"]),
        ("cgget", ["-g", "cpu:/x", "/x"]), ("cgget", ["-g", "cpu", "-r", "cpu.stat", "/"]),
        ("cgget", ["--va", "x", "/"]), ("cgset", []), ("cgset", ["-x"]), ("cgset", ["/x"]),
        ("cgset", ["-r", "cpu.shares=5"]), ("cgset", ["-r", "cpu.shares=", "/x"]),
        ("cgset", ["-r", "a.b=1", "--copy-from", "x", "/x"]), ("cgcreate", []),
        ("cgcreate", ["-x"]), ("cgcreate", ["-g", "memory"]),
        ("cgcreate", ["-g", "memory:/x", "y"]), ("cgdelete", ["-x"]), ("cgdelete", ["memory"]),
        ("cgexec", []), ("cgexec", ["-x"]),
        ("cgexec", ["-g", "memory:/x"]), ("cgexec", ["-g", "memory", "true"]), ("cgclassify", []),
        ("cgclassify", ["-x"]), ("cgclassify", ["-g", "memory", "1"]), ("lscgroup", ["-x"]),
        ("lssubsys", ["-x"]), ("cgsnapshot", ["-x"]), ("cgconfigparser", []),
        ("cgconfigparser", ["-x"]), ("cgconfigparser", ["-l", "/dev/null", "x"]),
        ("cgsnapshot", ["-b", "/nonexistent"]),
    ],
)  # fmt: skip
def test_a_usage_error_is_129_as_in_libcgroup_3(both, tool, words):
    theirs, ours = both(tool, *words)
    assert both.original.status not in (0, 129)
    assert (both.status, ours) == (129, theirs)


def test_a_parameter_without_a_value_is_no_crash(both, name, limit):
    both("cgset", "-r", limit, name)
    assert (both.original.status, both.status) == (-11, 129)
    both("cgset", "-r", "nodot=5", name)
    assert (both.original.status, both.status) == (0, 129)


def test_an_unknown_user_is_an_error(both, name):
    both("cgcreate", "-a", "nosuchuser", "-g", f"memory:/{name}/x")
    assert (both.original.status, both.status) == (0, 255)


def test_every_hierarchy_named_is_meant(both, name, on_v1):
    both.original("cgdelete", f"cpu,memory:/{name}-3")
    for group in (f"{name}-3", f"{name}-4"):
        assert main.run("cgcreate", ["-g", f"memory,cpu:/{group}"]) == 0
    both.original("cgdelete", f"memory,cpu:{name}-3")
    assert both.original.status == 0
    assert directory("cpu", f"{name}-3").exists()  # forgotten
    assert main.run("cgdelete", [f"memory,cpu:{name}-4"]) == 0
    assert not directory("cpu", f"{name}-4").exists()
    assert not directory("memory", f"{name}-4").exists()


def test_limits_may_come_in_either_order(both, name, on_v1):
    if not (directory("memory", name) / "memory.memsw.limit_in_bytes").exists():
        pytest.skip("this kernel shows no memory.memsw")
    words = ["-r", "memory.memsw.limit_in_bytes=20M", "-r", "memory.limit_in_bytes=10M", name]
    both("cgset", *words)
    assert (both.original.status, both.status) == (96, 0)


def test_a_group_that_is_not_in_the_controller_is_an_error(both, name):
    for words in (["-g", f"cpu:{name}-no"], ["-a", f"{name}-no"]):
        both("cgget", *words)
        assert (both.original.status, both.status) == (0, 96)


def test_the_source_of_a_copy_has_to_be_there(both, name):
    both("cgset", "--copy-from", f"{name}-no", name)
    assert (both.original.status, both.status) == (0, 82)


def test_what_fails_to_be_removed_keeps_its_processes(both, name, sleeper, on_v1):
    assert main.run("cgclassify", ["-g", f"memory:{name}", str(sleeper.pid)]) == 0
    assert main.run("cgdelete", [f"memory:{name}"]) == 96  # it has children
    assert where(sleeper.pid, "memory") == f"/{name}"
    both.original("cgdelete", f"memory:{name}")
    until(lambda: where(sleeper.pid, "memory") == "/")  # moved, though it failed
    assert both.original.status == 96
