"""The commands of the documentation, run as they stand there."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, our_cgroups

ROOT = Path(__file__).parents[2]
SUPERVISE = (ROOT / "docs/supervise.md").read_text()
PAGES = {page.stem: page.read_text() for page in sorted(ROOT.glob("docs/*.md"))}
BLOCKS = [
    (page, block)
    for page, text in PAGES.items()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S)
]
#: Their examples are made for a machine with some GiB, and what they rest on is tested on its own.
large = pytest.mark.skipif(IN_VM, reason="the VM is too small a machine for it")


def needs(*modules, commands=()):
    missing = [name for name in modules if not find_spec(name)]
    missing += [name for name in commands if not shutil.which(name)]
    return pytest.mark.skipif(bool(missing), reason=f"needs {', '.join(missing)}")


MARKS = {
    **{page: [large] for page in ("batch", "history", "pool")},
    "dask": [large, needs("distributed")],
    "prometheus": [large, needs("prometheus_client", commands=("prometheus", "curl"))],
}


@pytest.fixture
def folder(tmp_path, climits):
    """A folder as the documentation means it, and the environment to run its commands in."""
    for name in ("examples", "contrib"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (config,) = re.findall(r"^```toml\n(# climits\.toml\n.*?)^```", SUPERVISE, re.M | re.S)
    (tmp_path / "climits.toml").write_text(config)
    bins = tmp_path / "bin"
    bins.mkdir()
    (bins / "climits").symlink_to(climits)
    # No link: through one a virtual environment would not be seen.
    (bins / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (bins / "python3").chmod(0o755)
    return tmp_path, os.environ | {"PATH": f"{bins}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=MARKS.get(page, ())) for page, block in BLOCKS],
    ids=[f"{page}: {block.splitlines()[-1][:40]}" for page, block in BLOCKS],
)
def test_the_commands_of_the_pages(folder, block):
    path, environment = folder
    with open(path / "out", "wb") as out:
        done = subprocess.run(
            ["bash", "-ec", block], cwd=path, env=environment, stdout=out, stderr=out,
            timeout=60 * PATIENCE,
        )  # fmt: skip
    promised = re.match(r"# ends with (\d+)", block)
    assert done.returncode == int(promised[1] if promised else 0), (path / "out").read_text()
    # A fault of ours, or of memory; /etc/default is none.
    assert not re.search(r"\bfault\b", (path / "out").read_text())
    assert our_cgroups() == []


def test_the_documentation_has_commands_to_run():
    assert {"supervise", "toolbox"} <= {page for page, _ in BLOCKS}
    assert len(BLOCKS) >= 11
