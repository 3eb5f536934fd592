"""The Debian package: what is in it. That it can be installed, tests/systemd shows in the VM."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import IN_VM

from climits.cli.cgtools.main import TOOLS
from climits.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
PYTHON = "./usr/lib/python3/dist-packages"

pytestmark = [
    pytest.mark.skipif(IN_VM, reason="a matter of packages, not of the kernel"),
    pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg-deb here"),
]


def run(*words, **more):
    return subprocess.run(
        [str(word) for word in words], check=True, capture_output=True, text=True, **more
    ).stdout


@pytest.fixture(scope="module")
def deb():
    found = sorted(DIST.glob("climits_*.deb"))
    if not found:
        pytest.skip("make deb comes first")
    return found[-1]


@pytest.fixture(scope="module")
def files(deb):
    """{path: (mode, owner)}"""
    rows = (row.split(None, 5) for row in run("dpkg-deb", "-c", deb).splitlines())
    return {row[5]: (row[0], row[1]) for row in rows}


def test_everything_is_in_debians_places(files):
    assert "./usr/bin/climits" in files
    assert f"{PYTHON}/climits/launch/_spawn.abi3.so" in files
    assert f"{PYTHON}/climits/py.typed" in files
    for name in ("climits", *(f"climits-{name}" for name in COMMANDS)):
        assert f"./usr/share/man/man1/{name}.1.gz" in files
    for place in (
        "bash-completion/completions/climits",
        "zsh/vendor-completions/_climits",
        "fish/vendor_completions.d/climits.fish",
        "doc/climits/copyright",
        "doc/climits/changelog.gz",
    ):
        assert f"./usr/share/{place}" in files


def test_nothing_takes_the_place_of_cgroup_tools(files):
    names = {os.path.basename(path) for path in files if "/bin/" in path or "/sbin/" in path}
    assert names - {""} == {"climits"} and not names & set(TOOLS)


def test_files_are_roots_and_nobody_else_may_write(files):
    for path, (mode, owner) in files.items():
        assert owner == "root/root"
        assert mode[5] == mode[8] == "-" and "s" not in mode, path


def test_what_it_needs(deb):
    def field(name):
        return run("dpkg-deb", "-f", deb, name).strip()

    assert "python3 (>= 3.11)" in field("Depends") and "libc6" in field("Depends")
    assert "python3-seccomp" in field("Recommends")
    assert field("Architecture") == run("dpkg", "--print-architecture").strip()


def test_two_builds_are_the_same(deb, tmp_path):
    (wheel,) = DIST.glob("climits-*-manylinux*.whl")
    made = []
    for number, umask in enumerate((0o022, 0o077)):
        out = tmp_path / str(number)
        environ = os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "TZ": f"UTC{number}"}
        run(ROOT / "packaging/deb.sh", wheel, out, env=environ, umask=umask)
        (path,) = out.iterdir()
        made.append(hashlib.sha256(path.read_bytes()).hexdigest())
    assert made[0] == made[1]


@pytest.mark.skipif(not shutil.which("lintian"), reason="lintian is not installed")
def test_lintian_finds_nothing(deb):
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", str(deb)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
