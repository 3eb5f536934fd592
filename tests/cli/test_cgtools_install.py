"""`climits cgtools install`, and the installed tools as processes."""

import os
import shutil
import subprocess
import sys

import pytest

from climits.cli import cgtools_install
from climits.cli.cgtools import main
from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError

NAMES = {
    "cgcreate", "cgdelete", "cgset", "cgget", "cgexec", "cgclassify", "lscgroup", "lssubsys",
    "cgsnapshot", "cgconfigparser", "cgxget", "cgxset",
}  # fmt: skip


def run(*words, **options):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools") / "new" / "bin"
    assert dispatch(["cgtools", "install", str(folder), "--quiet"]) == 0
    return folder


def test_every_tool_is_there_and_can_be_run(tmp_path, capsys):
    assert dispatch(["cgtools", "install", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path}/{name}" for name in main.TOOLS]
    assert all(os.access(path, os.X_OK) for path in tmp_path.iterdir())


def test_our_own_are_replaced_and_others_are_not(tmp_path):
    assert dispatch(["cgtools", "install", str(tmp_path), "--quiet"]) == 0
    assert dispatch(["cgtools", "install", str(tmp_path), "--quiet"]) == 0
    (tmp_path / "cgset").write_text("#!/bin/sh\n")
    (tmp_path / "cgget").unlink()
    with pytest.raises(InvalidValueError, match="is there already") as caught:
        dispatch(["cgtools", "install", str(tmp_path)])
    assert "--force" in caught.value.hint
    assert not (tmp_path / "cgget").exists()  # nothing was begun
    assert dispatch(["cgtools", "install", "--force", str(tmp_path), "--quiet"]) == 0
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    assert "climits" in (tmp_path / "cgset").read_text()


def test_a_link_is_replaced_and_what_it_points_to_is_not(tmp_path):
    other = tmp_path / "precious"
    other.write_text("keep me")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "cgget").symlink_to(other)
    assert dispatch(["cgtools", "install", str(folder), "--force", "--quiet"]) == 0
    assert other.read_text() == "keep me"
    assert not (folder / "cgget").is_symlink()


@pytest.mark.parametrize(
    "words", [[], ["install"], ["remove", "/x"], ["install", "/x", "/y"], ["/x"]]
)
def test_bad_words(words):
    with pytest.raises(InvalidValueError) as caught:
        dispatch(["cgtools", *words])
    assert caught.value.hint == "climits cgtools install DIR"


def test_a_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ClimitsError, match="cannot install") as caught:
        dispatch(["cgtools", "install", str(tmp_path / "file" / "below")])
    assert caught.value.hint


def test_the_name_says_which_tool_it_is(tools, tmp_path):
    for name in NAMES:
        done = run(tools / name, "--help")
        assert done.returncode == 0 and done.stderr == ""
        assert done.stdout.startswith(f"Usage: {name} ")
        assert all(len(line) < 100 for line in done.stdout.splitlines())
    (tmp_path / "cgget").symlink_to(tools / "cgset")  # by a link too
    assert run(tmp_path / "cgget", "-h").stdout.startswith("Usage: cgget ")
    shutil.copy(tools / "cgset", tmp_path / "cgother")
    done = run(tmp_path / "cgother")
    assert done.returncode == 93 and "no such tool" in done.stderr


def test_the_environment_does_not_reach_the_interpreter(tools, tmp_path):
    (tmp_path / "climits.py").write_text("raise SystemExit('taken from PYTHONPATH')")
    (tmp_path / "gc.py").write_text("raise SystemExit('taken from the directory')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run(tools / "lssubsys", "-a", cwd=tmp_path, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("interpreter", [f"/{'x' * 200}/python", "/a b/it's/python"])
def test_an_interpreter_that_the_kernel_cannot_start_is_started_by_a_shell(
    monkeypatch, interpreter, tmp_path
):
    folder = tmp_path / interpreter.strip("/").rpartition("/")[0]
    folder.mkdir(parents=True)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    script = tmp_path / "lssubsys"
    script.write_text(cgtools_install.script())
    script.chmod(0o755)
    monkeypatch.undo()
    done = run(script, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: lssubsys")


def test_whoever_stops_reading_is_no_fault(tools):
    done = run("bash", "-c", f"{tools}/lssubsys -a | true; echo ${{PIPESTATUS[0]}}")
    assert done.stderr == ""


def test_closed_descriptors_are_no_fault(tools):
    done = run("bash", "-c", f"{tools}/lssubsys -a <&- 2>&-")
    assert done.returncode == 0 and done.stdout


def test_what_a_tool_loads_is_little(tools):
    code = (
        "import sys; sys.argv[0] = 'cgget'; from climits.cli.cgtools import main; "
        "main.run('cgget', ['-r', 'memory.stat', '/']); "
        "print(sorted({'re', 'enum', 'argparse', 'json', 'subprocess', 'typing', 'pathlib'} "
        "& set(sys.modules)), file=sys.stderr)"
    )
    assert run(sys.executable, "-I", "-S", "-c",
               f"import sys; sys.path.insert(0, {site()!r}); {code}").stderr == "[]\n"  # fmt: skip


def site():
    import climits

    return os.path.dirname(os.path.dirname(climits.__file__))
