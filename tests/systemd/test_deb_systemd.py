"""The Debian package, installed and removed again."""

import os
import subprocess
from pathlib import Path

import pytest
from support import PATIENCE

DIST = Path(__file__).parents[2] / "dist"

pytestmark = [
    pytest.mark.vm_only,
    pytest.mark.usefixtures("needs_systemd"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to install"),
    pytest.mark.timeout(1200),
]


def run(*words, status=0):
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    done = subprocess.run(
        [str(word) for word in words], env=environ, cwd="/", stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60 * PATIENCE,
    )  # fmt: skip
    assert done.returncode == status, done.stdout
    return done.stdout


def test_install_use_remove():
    found = sorted(DIST.glob("climits_*.deb"))
    if not found:
        pytest.skip("make deb comes first")
    # Without its recommendations, as with a package that is put there by hand; and without the
    # index of man-db, which would be made anew for all pages of the host.
    run("dpkg", "--no-triggers", "-i", found[-1])
    try:
        assert "\nStatus: install ok installed\n" in run("dpkg", "-s", "climits")
        version = run("dpkg-query", "-W", "-f", "${Version}", "climits").partition("-")[0]
        assert run("/usr/bin/climits", "version") == f"climits {version}\n"
        out = run("/usr/bin/climits", "run", "--memory", "60M", "--", "true")
        assert "exited 0" in out and " of 60.0M" in out
        hog = ("/usr/bin/climits", "run", "--memory", "20M", "--", "tail", "/dev/zero")
        assert "oom-killed" in run(*hog, status=137)
        where = "import climits; print(climits.__file__)"
        assert run("/usr/bin/python3", "-c", where).startswith("/usr/lib/python3/dist-packages/")
        assert run("man", "-w", "climits-run") == "/usr/share/man/man1/climits-run.1.gz\n"
        completed = run(
            "bash",
            "--norc",
            "-c",
            """
            source /usr/share/bash-completion/completions/climits
            COMP_WORDS=(climits ru) COMP_CWORD=1
            $(complete -p climits | sed 's/.*-F \\([^ ]*\\).*/\\1/') climits ru climits
            printf '%s\\n' "${COMPREPLY[@]}"
        """,
        )
        assert "run" in completed.split()
        files = run("dpkg", "-L", "climits").splitlines()
        assert run("dpkg", "-V", "climits") == ""
    finally:
        told = run("dpkg", "--no-triggers", "-r", "climits")
    assert "not empty" not in told
    assert [path for path in files if os.path.exists(path) and not os.path.isdir(path)] == []
    assert not os.path.exists("/usr/lib/python3/dist-packages/climits")
    run("dpkg", "-s", "climits", status=1)
