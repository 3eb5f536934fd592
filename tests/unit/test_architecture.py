"""The plan of the house, held against the source files."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import climits

SOURCE = Path(__file__).parents[2] / "src" / "climits"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(SOURCE).with_suffix("").parts) for path in FILES}
IDS = [NAMES[path] for path in FILES]

#: From the cellar up; a room may import from itself and from those before it.
ROOMS = (
    "base", "linux", "launch", "cgroup", "program", "history", "supervise", "pool", "batch",
    "observe", "cli",
)  # fmt: skip
BASE = ("errors", "units", "records")
#: What is public under a room's own name, and loaded when it is used.
LAZY = {
    "batch.__init__": ["climits.batch.face", "climits.batch.face.run"],
    "supervise.__init__": ["climits.supervise.client", "climits.supervise.client.Client"],
}
#: The ways in, which lie in no room.
DOORS = ("__init__", "__main__", "aio", "dask")

modules = pytest.mark.parametrize("path", FILES, ids=IDS)


@functools.cache
def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def is_for_typing(node):
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def walk(node):
    """Every node that is run: what stands under ``if TYPE_CHECKING`` is left out."""
    for child in ast.iter_child_nodes(node):
        if is_for_typing(child):
            for other in child.orelse:
                yield other
                yield from walk(other)
            continue
        yield child
        yield from walk(child)


def imports(path):
    """Absolute names of the modules that a file imports, the names taken from them included."""
    package = ["climits", *path.relative_to(SOURCE).parts[:-1]]
    for node in walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module.split(".") if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def dotted(node):
    """``os.open`` of an attribute, or the name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@functools.cache
def calls(path):
    return [(dotted(n.func), n) for n in walk(parse(path)) if isinstance(n, ast.Call)]


def room_of(name):
    """The room that a module of climits lies in, or None for climits itself."""
    first = name.split(".")[1] if "." in name else ""
    if first in BASE:
        return "base"
    return first if first in ROOMS else None


def within(*places):
    return [p for p in FILES if any(NAMES[p] == x or NAMES[p].startswith(x + ".") for x in places)]


def outside(*places):
    return [path for path in FILES if path not in within(*places)]


# ---- the tests of the tests ----------------------------------------------------------------


def test_the_source_is_there_and_the_wheel_is_what_runs():
    assert {"errors", "cgroup.files", "launch.spawn", "cli.main"} <= set(IDS)
    assert not Path(climits.__file__).is_relative_to(SOURCE)


def test_every_module_lies_in_a_room():
    homeless = [n for n in IDS if room_of(f"climits.{n}") is None]
    assert sorted(homeless) == sorted(DOORS)


# ---- imports -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", outside(*DOORS), ids=lambda p: NAMES[p])
def test_imports_go_down_only(path):
    room = room_of(f"climits.{NAMES[path]}")
    allowed = ROOMS[: ROOMS.index(room) + 1]
    ours = [name for name in imports(path) if name.split(".")[0] == "climits"]
    assert [n for n in ours if room_of(n) not in (*allowed, None)] == []
    if room != "cli":  # what it takes from climits itself can only be a module of a room
        known = ("climits", "climits.__version__")
        assert [n for n in ours if room_of(n) is None and n not in known] == []


def test_the_base_has_an_order_too():
    for name, below in (("errors", ()), ("units", ("errors",)), ("records", ("errors", "units"))):
        ours = {n.split(".")[1] for n in imports(SOURCE / f"{name}.py") if n.startswith("climits.")}
        assert ours <= set(below)


def test_package_files_import_nothing_of_the_house():
    for path in FILES:
        if path.name == "__init__.py" and NAMES[path] != "cgroup.memory.__init__":
            ours = [n for n in imports(path) if n.startswith("climits.")]
            assert ours == LAZY.get(NAMES[path], [])


@pytest.mark.parametrize("path", outside("__init__", "cli.main"), ids=lambda p: NAMES[p])
def test_imports_can_be_seen(path):
    assert not {name.split(".")[-1] for name, _ in calls(path)} & {"import_module", "__import__"}


# ---- one place for each thing --------------------------------------------------------------

STARTERS = (
    "fork", "forkpty", "posix_spawn", "posix_spawnp", "system", "popen", "execv", "execve",
    "execvp", "execvpe", "execl", "execle", "execlp", "execlpe", "spawnv", "spawnve", "spawnl",
    "spawnvp", "startfile",
)  # fmt: skip


@pytest.mark.parametrize("path", outside("launch"), ids=lambda p: NAMES[p])
def test_only_launch_starts_processes(path):
    called = {name for name, _ in calls(path)}
    assert (
        called & {f"{m}.{n}" for m in ("os", "posix", "_posixsubprocess") for n in STARTERS}
        == set()
    )
    assert not called & {
        f"subprocess.{n}"
        for n in ("Popen", "run", "call", "check_call", "check_output", "getoutput")
    }
    taken = {n for n in imports(path) if n.split(".")[0] in ("os", "posix")}
    assert not taken & {f"{m}.{n}" for m in ("os", "posix") for n in STARTERS}


LAUNCHERS = {"multiprocessing", "concurrent", "pty", "_posixsubprocess", "subprocess"}
#: What starts nothing: the errors, an executor's interface, and what a worker is to know of us.
HARMLESS = ("concurrent.futures", "multiprocessing.process", "multiprocessing.spawn")
BORROWED = {
    "program.checks": ("subprocess",),
    "pool.channel": (*HARMLESS, "multiprocessing", "subprocess"),
    "pool.worker": (*HARMLESS, "multiprocessing"),
    "pool.executor": HARMLESS,
    "pool.failures": HARMLESS,
    "pool.work": HARMLESS,
    "batch.dask_executor": HARMLESS,
    "batch.dask_host": HARMLESS,
    "batch.dask_worker": HARMLESS,
}


@modules
def test_no_second_launch_mechanism(path):
    found = {name for name in imports(path) if name.split(".")[0] in LAUNCHERS}
    allowed = BORROWED.get(NAMES[path], ())
    assert not {n for n in found if not any(f"{n}.".startswith(f"{a}.") for a in allowed)}


@pytest.mark.parametrize("path", outside("cgroup.layout"), ids=lambda p: NAMES[p])
def test_only_layout_asks_for_the_version(path):
    for node in walk(parse(path)):
        assert not (isinstance(node, ast.Attribute) and node.attr == "_version")
        assert not (isinstance(node, ast.Constant) and node.value == "_version")


CGROUP_FILES = ("cgroup.", "memory.", "cpu.", "cpuacct.", "cpuset.", "pids.", "freezer.", "tasks")


def literals(node):
    return [
        n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)
    ]


def opens_a_cgroup_file(name, call):
    if name not in ("open", "os.open", "io.open", "os.mkdir", "os.rmdir", "os.makedirs"):
        return False
    if name in ("os.mkdir", "os.rmdir", "os.makedirs"):
        return True
    if any(keyword.arg == "dir_fd" for keyword in call.keywords):
        return True
    parts = [part for text in literals(call.args[0]) for part in text.split("/")]
    return any(part.startswith(CGROUP_FILES) for part in parts)


@pytest.mark.parametrize("path", outside("cgroup.files"), ids=lambda p: NAMES[p])
def test_only_files_opens_cgroup_files(path):
    found = [ast.unparse(call) for name, call in calls(path) if opens_a_cgroup_file(name, call)]
    if NAMES[path] == "cgroup.layout":
        assert found == ["os.open(f'{mount_point}/cgroup.controllers', os.O_RDONLY)"]
    elif NAMES[path] == "supervise.control":  # of its socket
        assert found == ["os.makedirs(directory, mode=448, exist_ok=True)"]
    else:
        assert found == []


def test_the_heuristic_finds_what_it_is_for():
    found = [
        ast.unparse(c) for n, c in calls(SOURCE / "cgroup/files.py") if opens_a_cgroup_file(n, c)
    ]
    assert len(found) >= 5


# pool.worker is a program: what a worker runs; launch.apart ends its own child.
TO_THE_END = ("cli", "__main__", "pool.worker", "launch.apart")


@pytest.mark.parametrize("path", outside(*TO_THE_END), ids=lambda p: NAMES[p])
def test_library_code_never_prints_or_exits(path):
    called = {name for name, _ in calls(path)}
    assert not called & {"print", "sys.exit", "exit", "os._exit", "sys.stdout.write"}


# ---- style ---------------------------------------------------------------------------------


@modules
def test_every_module_has_a_docstring(path):
    text = ast.get_docstring(parse(path))
    assert text and not text[0].isspace()


@modules
def test_no_module_is_longer_than_480_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 480


@modules
def test_no_function_is_longer_than_100_lines(path):
    long = [
        node.name
        for node in ast.walk(parse(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno - node.lineno > 100
    ]
    assert long == []


# ---- the public names ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def door():
    """(the TYPE_CHECKING imports, the lazy table, __all__) of climits/__init__.py."""
    tree = parse(SOURCE / "__init__.py")
    typed, table, public = {}, None, None
    for node in tree.body:
        if is_for_typing(node):
            for statement in node.body:
                assert isinstance(statement, ast.ImportFrom) and statement.level == 1
                for alias in statement.names:
                    assert alias.asname is None
                    typed[alias.name] = statement.module
        elif isinstance(node, ast.Assign) and dotted(node.targets[0]) == "_HOME":
            table = ast.literal_eval(node.value)
        elif isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__":
            public = ast.literal_eval(node.value)
    return typed, table, public


def test_the_three_lists_of_public_names_agree(door):
    typed, table, public = door
    homes = [(name, module) for module, names in table.items() for name in names]
    assert len(homes) == len(dict(homes))
    assert dict(homes) == typed
    assert set(public) == typed.keys()
    assert len(public) == len(set(public))


def test_each_public_name_can_be_had(door):
    typed, _, public = door
    for name in public:
        value = getattr(climits, name)
        module = getattr(value, "__module__", None)
        if isinstance(module, str):
            assert module == f"climits.{typed[name]}"
        assert name in dir(climits)


def test_another_name_cannot():
    with pytest.raises(AttributeError, match="module 'climits' has no attribute 'nonsense'"):
        _ = climits.nonsense
    with pytest.raises(ImportError):
        exec("from climits import nonsense")


def test_star_gives_the_public_names(door):
    namespace = {}
    exec("from climits import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(door[2])


@pytest.mark.parametrize("platform", ["darwin", "win32", "freebsd14"])
def test_another_platform_is_told_that_linux_is_needed(platform):
    code = f"import sys; sys.platform = {platform!r}; import climits"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: climits needs Linux (this is {platform}): "
        "its limits are kept by the kernel's cgroups"
    )
