"""The wheels and the source package, installed where nothing else of ours is: see `make dist`."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from support import IN_VM

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

pytestmark = [
    pytest.mark.skipif(IN_VM, reason="a matter of installers, not of the kernel"),
    pytest.mark.skipif(not DIST.is_dir(), reason="make dist comes first"),
]


def wheel(libc):
    """The wheel for a C library: many or musl."""
    found = sorted(DIST.glob(f"climits-*-{libc}linux*.whl"))
    if not found:
        pytest.skip(f"no {libc}linux wheel in dist/: make dist tells why")
    return found[-1]


def python_of(version):
    """An interpreter of a version, on the path or where pyenv has it."""
    names = [shutil.which(f"python{version}")]
    homes = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    names += sorted(map(str, homes.glob(f"{version}.*/bin/python{version}")))
    for name in filter(None, names):
        probe = [name, "-c", f"import ensurepip, sys; assert sys.version.startswith('{version}.')"]
        if not subprocess.run(probe, capture_output=True).returncode:
            return name
    return pytest.skip(f"Python {version} is not installed, or has no venv")


def run(*words, **more):
    """Run a command where no module of the source tree can be found: (standard output)."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(word) for word in words], env=environ, cwd="/", capture_output=True, text=True, **more
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(top):
    """Every file below a directory."""
    return {str(p.relative_to(top)) for p in top.rglob("*") if not p.is_dir()}


IMPORTS = """
import climits, importlib.metadata
assert climits.__file__.startswith({prefix!r}), climits.__file__
names = [name for name in dir(climits) if not name.startswith("_")]
assert {{"run", "Process", "Cgroup", "limited"}} <= set(names), names
for name in names:
    getattr(climits, name)
from climits.launch import _spawn
assert _spawn.__file__.endswith(".abi3.so"), _spawn.__file__
print(importlib.metadata.version("climits"))
"""


@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_in_a_clean_environment(version, tmp_path):
    python = python_of(version)
    run(python, "-m", "venv", tmp_path / "venv")
    venv = tmp_path / "venv"
    before = files(venv)
    pip = (venv / "bin/python", "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "-q", "--no-index", wheel("many"))
    assert "No broken requirements found" in run(*pip, "check")

    number = run(venv / "bin/python", "-c", IMPORTS.format(prefix=str(venv))).strip()
    assert run(venv / "bin/climits", "version").strip() == f"climits {number}"
    assert run(venv / "bin/python", "-m", "climits", "version").strip() == f"climits {number}"
    if os.geteuid() == 0:
        run(venv / "bin/climits", "run", "--no-history", "--memory", "60M", "--", "true")

    share = venv / "share"
    for place in (
        "man/man1/climits-run.1",
        "bash-completion/completions/climits",
        "zsh/site-functions/_climits",
        "fish/vendor_completions.d/climits.fish",
    ):
        assert (share / place).read_text() == (ROOT / "share" / place).read_text()
    bash = f"source {share}/bash-completion/completions/climits; complete -p climits"
    assert "climits" in run("bash", "--norc", "-c", bash)

    run(*pip, "uninstall", "-q", "-y", "climits")
    left = files(venv) - before
    # What the first run made to start faster, beside Python's own byte code, pip does not know of.
    assert {name for name in left if not name.endswith(".bundle")} == set()


@pytest.mark.parametrize("libc", ["many", "musl"])
def test_wheel_is_for_every_python_and_tells_no_place_of_ours(libc):
    path = wheel(libc)
    assert "-cp311-abi3-" in path.name
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert not [n for n in names if "__pycache__" in n or n.startswith("tests")]
        for name in ("climits/launch/_spawn.abi3.so", "climits/launch/climits-init"):
            data = archive.read(name)
            assert data[:4] == b"\x7fELF"
            assert str(ROOT).encode() not in data and b"/.pyenv/" not in data
        metadata = next(n for n in names if n.endswith(".dist-info/METADATA"))
        assert b"\nRequires-Python: >=3.11\n" in archive.read(metadata)


def test_each_wheel_needs_its_own_c_library(tmp_path):
    needed = {}
    for libc in ("many", "musl"):
        with zipfile.ZipFile(wheel(libc)) as archive:
            path = archive.extract("climits/launch/_spawn.abi3.so", tmp_path / libc)
        out = run("readelf", "-d", path)
        needed[libc] = {
            row.split("[")[1].rstrip("]") for row in out.splitlines() if "NEEDED" in row
        }
        assert "RUNPATH" not in out and "RPATH" not in out
    machine = os.uname().machine
    assert needed == {"many": {"libc.so.6"}, "musl": {f"libc.musl-{machine}.so.1"}}


def test_source_package_builds_the_same_wheel(tmp_path):
    (source,) = DIST.glob("climits-*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = tmp_path.iterdir()
    assert (tree / "tests/conftest.py").exists() and (tree / "Makefile").exists()
    out = tmp_path / "wheel"
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
        "--no-index", "-w", out, tree)  # fmt: skip
    (built,) = out.glob("*.whl")
    with zipfile.ZipFile(built) as ours, zipfile.ZipFile(wheel("many")) as theirs:
        names = [{n for n in w.namelist() if not n.endswith("/")} for w in (ours, theirs)]
    assert names[0] == names[1]


@pytest.mark.skipif(not shutil.which("musl-gcc"), reason="musl-gcc is not installed")
def test_the_musl_extension_finds_all_its_symbols(tmp_path):
    """In musl itself, or in Python: no symbol of glibc's is left in it."""
    with zipfile.ZipFile(wheel("musl")) as archive:
        path = archive.extract("climits/launch/_spawn.abi3.so", tmp_path)
    wanted = {row.split()[-1] for row in run("nm", "-D", "--undefined-only", path).splitlines()}
    libc = f"/usr/lib/{os.uname().machine}-linux-musl/libc.so"
    has = {row.split()[-1] for row in run("nm", "-D", "--defined-only", libc).splitlines()}
    missing = {
        n for n in wanted - has if not n.startswith(("Py", "_Py", "_ITM_", "__gmon_start__"))
    }
    assert missing == set()
