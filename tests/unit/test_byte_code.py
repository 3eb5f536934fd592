"""The file with the byte code of a command: it changes nothing but the speed."""

import importlib.util
import marshal
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import climits

#: What a start does, short of running something: the modules of the command, and some more.
START = """
import sys
sys.argv = ["climits", *sys.argv[1:]]
from climits.cli import bundle
bundle.load()
before = {name for name in sys.modules if name.startswith("climits")}
import climits.cli.run
import climits.program.process
for name, module in sorted(sys.modules.items()):
    if name.startswith("climits"):
        spec = module.__spec__
        print(name, module.__package__, module.__file__, spec.name, spec.parent, spec.origin,
              *getattr(module, "__path__", ()), *(spec.submodule_search_locations or ()))
assert sys.modules["climits.program.process"] is climits.program.process
print(f"loaded: {len(before)}")
bundle.save()
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the installed package, without any byte code of its own."""
    place = tmp_path / "climits"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(climits.__file__).parent, place, ignore=ignore)
    return place


def start(package, *words, **environ):
    """(what it says of each module, how many climits modules the bundle brought)."""
    env = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    env |= {"PYTHONPATH": str(package.parent), **environ}
    done = subprocess.run(
        [sys.executable, "-c", START, *(words or ("run",))],
        capture_output=True, text=True, env=env, cwd="/", check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    *modules, last = done.stdout.splitlines()
    return modules, int(last.removeprefix("loaded: "))


def bundles(package):
    return sorted(path.name for path in package.glob("__pycache__/*.bundle"))


def of(package, command="run"):
    return package / f"__pycache__/{command}.{sys.implementation.cache_tag}.bundle"


ALONE = 3  # climits, climits.cli and climits.cli.bundle, without a bundle


def test_the_second_start_has_it_all_from_the_file(package):
    first, before = start(package)
    assert before == ALONE and bundles(package) == [of(package).name]
    second, loaded = start(package)
    assert loaded == len(first) > 20
    assert second == first  # each module is what Python would have made
    assert all(str(package) in line for line in first)


def test_each_module_stands_behind_those_that_it_needs(package):
    start(package)
    _, rows = marshal.loads(of(package).read_bytes())
    names = [row[0] for row in rows]
    assert len(names) == len({*names})
    assert names.index("climits.errors") < names.index("climits.cgroup.files")
    assert names.index("climits.cgroup.files") < names.index("climits.program.process")
    assert names[-1] in ("climits.cli.run", "climits.program.process")


def test_a_changed_source_counts_at_once_and_the_file_is_made_anew(package):
    start(package)
    old = of(package).read_bytes()
    source = package / "units.py"
    source.write_text(source.read_text() + "\nNEW = 1\n")
    _, loaded = start(package)
    assert loaded == ALONE
    assert of(package).read_bytes() != old
    _, loaded = start(package)
    assert loaded > 20


def test_a_copy_of_the_package_runs_its_own_code(package, tmp_path):
    whole, _ = start(package)
    copy = tmp_path / "elsewhere/climits"
    shutil.copytree(package, copy)
    modules, loaded = start(copy)
    assert loaded == len(whole) and all(str(copy) in line for line in modules)
    with open(copy / "units.py", "a") as file:
        file.write("NEW = 1\n")
    assert start(copy) == (modules, ALONE)


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: b"garbage" + data,
    lambda data: data[: len(data) // 2],
    lambda data: marshal.dumps(7),
    lambda data: marshal.dumps((b"other", marshal.loads(data)[1])),
    lambda data: marshal.dumps((importlib.util.MAGIC_NUMBER, [("climits.units", 1)])),
    lambda data: marshal.dumps((importlib.util.MAGIC_NUMBER, 7)),
])  # fmt: skip
def test_a_damaged_file_is_made_anew(package, damage):
    whole, _ = start(package)
    of(package).write_bytes(damage(of(package).read_bytes()))
    assert start(package) == (whole, ALONE)
    assert start(package) == (whole, len(whole))


def test_it_is_not_written_where_python_writes_none(package):
    assert start(package, PYTHONDONTWRITEBYTECODE="1")[1] == ALONE
    assert not (package / "__pycache__").exists()


def test_it_needs_no_right_to_write(package):
    whole, _ = start(package)
    of(package).unlink()
    of(package).mkdir()  # nothing can take its place
    assert start(package) == (whole, ALONE)


@pytest.mark.parametrize("words", [["top"], ["--help"], ["supervise", "run"], ["-memory", "60"]])
def test_other_commands_have_none(package, words):
    assert start(package, *words)[1] == ALONE
    assert bundles(package) == []


def test_what_an_option_alone_needs_is_left_out(package):
    code = START.replace("climits.program.process\n", "climits.program.process\n" + "".join(
        f"import climits.{name}\n"
        for name in ("observe.recordings.recorder", "program.polling.process", "supervise.policy")
    ), 1)  # fmt: skip
    env = {name: value for name, value in os.environ.items() if name[:6] != "PYTHON"}
    env["PYTHONPATH"] = str(package.parent)
    subprocess.run([sys.executable, "-c", code, "run"], env=env, cwd="/", check=True)
    _, rows = marshal.loads(of(package).read_bytes())
    rooms = {name.split(".")[1] for name, *_ in rows}
    assert {"program", "cgroup", "cli"} <= rooms and "supervise" not in rooms
    assert not {n for n, *_ in rows if "polling" in n or "recordings" in n}
