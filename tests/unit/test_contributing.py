"""What CONTRIBUTING, SECURITY and the files for tools promise is there, and lists agree.

The lists are those that grow with a command, an alarm or a controller: what is forgotten in one
of them is found here, where no other test would.
"""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import climits
from climits.cgroup import sources, triggers
from climits.cli import main, options, supervise, watch
from climits.program.spec import Spec
from climits.supervise import config_values

ROOT = Path(__file__).parents[2]
PAGES = ("CONTRIBUTING.md", "SECURITY.md", ".github/PULL_REQUEST_TEMPLATE.md")
ROOMS = (
    "src", "tests", "tools", "docs", "packaging", "benchmarks", "contrib", "examples", ".github"
)  # fmt: skip


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


# ---- what is named is there ----------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_each_file_that_is_named_is_there(page):
    made_up = {"src/climits/cli/age.py", "src/climits/cgroup/hugetlb.py"}
    code = re.findall(r"`([^`\s]+)`", text_of(page))
    named = {
        word.partition("::")[0] for word in code if word.startswith(tuple(f"{r}/" for r in ROOMS))
    }
    links = set(re.findall(r"\]\(([^)#]+)\)", text_of(page)))
    assert {name for name in named | links if not (ROOT / name).exists()} <= made_up


def test_each_test_that_is_named_is_there():
    found = 0
    for section in text_of("SECURITY.md").split("\n## "):
        default = re.search(r"Tests without a file are in\s`(tests/[\w/]+\.py)`", section)
        for name, test in re.findall(r"`([\w/.]*)::(\w+)`", section):
            assert f"def {test}(" in text_of(name or default[1]), test
            found += 1
        if default or section.startswith("Cgroups"):  # what holds, each with what tries it
            ways = re.split(r"^- ", section, flags=re.M)[1:]
            assert [way for way in ways if "::test_" not in way.partition("\n\n")[0]] == []
            found += len(ways)
    assert found > 80


@pytest.mark.parametrize("page", PAGES)
def test_each_target_of_make_that_is_named_is_there(page):
    targets = re.findall(r"(?:`|^\$ )make ([a-z][a-z-]*)", text_of(page), re.M)
    assert set(targets) <= set(re.findall(r"^([a-z-]+)[^:=\n]*:", text_of("Makefile"), re.M)) | set(
        re.search(r"^dist deb:", text_of("Makefile"), re.M)[0].strip(":").split()
    )


def test_each_name_in_the_steps_stands_in_the_file_that_is_named_with_it():
    steps = re.findall(r"^\d\. .*?(?=^\d\. |^[A-Z#])", text_of("CONTRIBUTING.md"), re.M | re.S)
    assert len(steps) > 15
    for step in steps:
        files = [f for f in re.findall(r"`(src/[\w/.]+)`", step) if (ROOT / f).exists()]
        names = re.findall(r"`(_?[A-Z][A-Z_]+|Spec|Hierarchy|Limits|make_\w+|_prepare)`", step)
        if files:
            content = "".join(text_of(file) for file in files)
            assert [n for n in names if not re.search(rf"\b{n}\b", content)] == []


# ---- lists that grow together ----------------------------------------------------------------


def test_each_source_of_alarms_is_known_wherever_one_is_given():
    known = set(triggers.SOURCES)
    assert {*sources._CLASSES, "pressure"} == known
    plain = {name.replace("_", "-") for name in (*watch._PLAIN, *watch._LEVELLED)}
    assert plain == known
    assert {f"--{name}" for name in known} <= {option[0] for option in watch.OPTIONS}
    assert set(triggers._LEVELLED) == set(watch._LEVELLED) == set(triggers._LEVEL_HINTS)
    (table,) = re.findall(r"^\| source \|.*?\n\n", text_of("docs/supervise.md"), re.M | re.S)
    cells = "".join(re.findall(r"^\|([^|]+)\|", table, re.M)[2:])
    assert set(re.findall(r"`([a-z-]+)", cells)) >= known
    assert all(name in triggers.Trigger.__doc__ for name in known)


LIMITS = [option for option in options.RUN if option[3] == options.LIMITS]
#: What each takes, for a try.
VALUES = {"int": 1, "float": 1.0, "text": "1"}


@pytest.mark.parametrize("option", LIMITS, ids=lambda option: option[0])
def test_a_limit_is_passed_over_nowhere(option):
    """It would be ignored, where climits promises that no limit ever is."""
    name = option[0][2:].replace("-", "_")
    assert name in supervise._SPEC and name in config_values.OPTIONS
    if name not in ("memory", "on_oom"):
        with pytest.raises(climits.InvalidValueError, match="cannot be had with --enforce poll"):
            Spec(["true"], enforce="poll", **{"memory": "60M", name: VALUES[option[2]]})


def test_the_version_is_the_same_everywhere():
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    assert f'__version__ = "{version}"' in text_of("src/climits/__init__.py")
    assert f'"climits {version}"' in text_of("share/man/man1/climits.1")
    assert text_of("CHANGELOG.md").count("## [Unreleased]\n") == 1


def test_the_changelog_tells_of_each_command_and_public_class():
    text = text_of("CHANGELOG.md")
    missing = [n for n in main.COMMANDS if not re.search(rf"`(climits )?{n}\b", text)]
    assert missing == ["version"]
    for name in ("Process", "run", "Cgroup", "Container", "Recorder",
                 "ProcessPoolExecutor", "limited", "task"):  # fmt: skip
        assert f"climits.{name}" in text
    headings = re.findall(r"^### (.*)$", text, re.M)
    assert set(headings) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert re.findall(r"^## (.*)$", text, re.M)[0] == "[Unreleased]"


# ---- tools -----------------------------------------------------------------------------------


def test_what_runs_before_a_commit_is_what_make_check_runs():
    (checks,) = re.findall(r"^check:(.*)$", text_of("Makefile"), re.M)
    config = text_of(".pre-commit-config.yaml")
    hooks = re.findall(r"^ {8}entry: (.*)$", config, re.M)
    assert hooks == [f"make {name}" for name in checks.split()] != []
    assert len(re.findall(r"^ +- id: ", config, re.M)) == len(hooks)
    # Each is run whatever was changed, and fetches nothing of its own.
    assert config.count("pass_filenames: false") == config.count("language: system") == len(hooks)
    assert not re.search(r"^ +(files|types|exclude|stages|always_run):", config, re.M)
    assert re.findall(r"repo: (.*)", config) == ["local"]


def test_the_files_are_as_the_editors_are_told():
    """Those that git knows, but for what the settings leave out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a clone")
    wrong = []
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if not path.is_file() or name.endswith(".png"):
            continue
        content = path.read_bytes()
        content.decode()
        faults = [b"\r" in content]
        if not name.startswith(("share/", "docs/images/", "docs/reference/", "tests/fixtures/")):
            faults += [content != b"" and not content.endswith(b"\n")]
            faults += [re.search(rb"[ \t]+$", content, re.M)]
        if name.endswith((".py", ".pyi", ".c")):
            faults += [re.search(rb"^\t", content, re.M)]
        if any(faults):
            wrong.append(name)
    assert wrong == []


FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_is_one_that_the_git_host_shows(path):
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the forms")
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert form.keys() <= {"name", "description", "title", "labels", "body"}
    assert form["name"] and form["description"] and isinstance(form["labels"], list)
    ids = [item["id"] for item in form["body"] if item["type"] != "markdown"]
    assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[\w-]+", i) for i in ids)
    for item in form["body"]:
        assert item.keys() <= {"type", "id", "attributes", "validations"}
        assert item["type"] in ("markdown", "textarea", "input", "dropdown", "checkboxes")
        attributes = item["attributes"]
        if item["type"] == "markdown":
            assert attributes["value"].strip()
        else:
            assert isinstance(attributes["label"], str) and attributes["label"]
        if item["type"] == "dropdown":
            options = attributes["options"]
            assert all(isinstance(option, str) for option in options)
            assert len(options) == len(set(options))
