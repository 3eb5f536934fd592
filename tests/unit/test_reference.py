"""The pages of docs/reference are what their generator makes of the tables."""

import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from climits.cli import main
from climits.observe.catalog import catalog
from climits.observe.remedies import TROUBLES

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/make_reference.py"
PAGES = {path.name: path.read_text() for path in (ROOT / "docs/reference").glob("*.md")}

pytest.importorskip("shtab", reason="shtab, which makes the completions, is not installed")


def run(*argv, tool=TOOL):
    return subprocess.run(
        [sys.executable, tool, *argv], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture
def copy(tmp_path):
    """The tool and what it has made, where they may be changed."""
    for folder in ("tools", "docs/reference", "share"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path / "tools/make_reference.py", tmp_path


def test_the_pages_are_up_to_date():
    done = run("--check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_page_that_was_changed_by_hand_is_found_and_made_anew(copy):
    tool, root = copy
    names = ["docs/reference/files.md", "docs/reference/doctor.md", "share/man/man1/climits-run.1"]
    (root / names[0]).write_text("by hand")
    (root / names[1]).unlink()
    (root / names[2]).write_text("by hand")
    done = run("--check", tool=tool)
    assert done.returncode == 1 and (root / names[0]).read_text() == "by hand"
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == names
    assert run(tool=tool).returncode == 0
    for name in names:
        assert (root / name).read_text() == (ROOT / name).read_text()


def test_another_argument_is_refused():
    done = run("--chek")
    assert done.returncode == 2 and "--check" in done.stderr


def test_every_file_stands_on_its_page():
    rows = re.findall(r"^\| `([^`]+)`", PAGES["files.md"], re.M)
    assert sorted(rows) == sorted(file.name for file in catalog())


def test_every_finding_stands_on_its_page_with_its_remedy():
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \| (.+) \| (.+) \|$", PAGES["doctor.md"], re.M)
    # In the page those of a check stand together.
    assert sorted(rows) == sorted(
        (t.key, t.state, t.cost.replace("|", "\\|"), t.remedy.replace("|", "\\|"))
        for t in TROUBLES.values()
    )


def shown(markdown):
    """What a cell or paragraph shows: escapes, code and links undone."""
    text = re.sub(r"\[([^\]]*)\]\(\.\./\.\./[^)]*\)", r"docs/\1", markdown)
    text = re.sub(r"(?<!\\)`", "", text)
    return re.sub(r"\\(.)", r"\1", text).replace("&lt;", "<")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_a_page_with_its_options_and_examples(name):
    page = (ROOT / f"docs/reference/commands/{name}.md").read_text()
    module = import_module(f"climits.cli.{main.COMMANDS[name][0]}")
    assert page.split("\n")[1] == f"# climits {name}" and module.USAGE in page
    rows = re.findall(r"^\| `(--[^`]+)` \| (.*) \|$", page, re.M)
    assert [(flag, shown(text)) for flag, text in rows] == [
        (f"{flag} {metavar}" if metavar else flag, text.replace("%%", "%"))
        for flag, metavar, _kind, _group, text in module.OPTIONS
    ]
    text = re.sub(r"\s+", " ", shown(page))
    for part in re.split(r"\n\n|^examples?:$", module.EPILOG, flags=re.M):
        assert " ".join(part.split()) in text


def test_the_overview_has_every_command_in_the_groups_of_its_help():
    rows = re.findall(r"^\| .*\[climits (\w+)\]\(commands/(\w+)\.md\) \| (.*) \|$",
                      PAGES["commands.md"], re.M)  # fmt: skip
    assert [(name, shown(text)) for name, _, text in rows] == [
        (name, summary) for name, (_, summary) in main.COMMANDS.items()
    ]
    assert all(name == page for name, page, _ in rows)
    firsts = re.findall(r"^## .*\n\n.*\n.*\n.*\[climits (\w+)\]", PAGES["commands.md"], re.M)
    assert firsts == ["run", *main._GROUPS]
