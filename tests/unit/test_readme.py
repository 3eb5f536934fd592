"""The first pages: their commands can be read, two languages agree, links lead somewhere.

These are README.md, README.zh-CN.md and docs/tour.md. The blocks of the tour that can be run
anywhere are run by tests/cli/test_docs.py.
"""

import ast
import inspect
import re
import shlex
import xml.etree.ElementTree as ElementTree
from importlib import import_module
from pathlib import Path

import pytest

import climits
from climits.cli import main, options
from climits.program.spec import Spec
from climits.units import parse_duration, parse_size

ROOT = Path(__file__).parents[2]
ENGLISH, CHINESE, TOUR = (ROOT / p for p in ("README.md", "README.zh-CN.md", "docs/tour.md"))
PAGES = {path.name: path for path in (ENGLISH, CHINESE, TOUR)}
pages = pytest.mark.parametrize("name", PAGES)

#: Lines of two screens, and how many pixels of a picture are one line of text.
TWO_SCREENS, LINE = 100, 24
SIZES = ("memory", "swap", "high", "low", "min", "grow_max")
TIMES = ("timeout", "kill_after")


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


def climits_commands(block):
    """The words of each climits command in lines of shell, also of one within ``$( )``."""
    block = block.replace("\\\n", " ")
    for inner in re.findall(r"\$\((climits [^()]*)\)", block):
        yield shlex.split(inner)[1:]
    for line in re.sub(r'"\$\(climits [^()]*\)"', "1G", block).splitlines():
        words = list(shlex.shlex(re.sub(r"^[$#] ", "", line), posix=True, punctuation_chars=True))
        command = []
        for word in [*words, ";"]:
            if set(word) <= set(";|&()<>"):
                if command[:1] == ["climits"]:
                    yield command[1:]
                command = []
            else:
                command.append(word)


def commands(path):
    return [
        argv
        for language in ("console", "sh")
        for block in blocks(path, language)
        for argv in climits_commands(block)
    ]


COMMANDS = [
    pytest.param(argv, id=f"{name}: {' '.join(argv)[:60]}")
    for name, path in PAGES.items()
    for argv in commands(path)
]


# ---- commands --------------------------------------------------------------------------------


def read(argv):
    """What the option parser of a command makes of its words."""
    module = import_module(f"climits.cli.{main.COMMANDS[argv[0]][0]}")
    anywhere = getattr(module, "ANYWHERE", False)
    return options.parse(module.OPTIONS, argv[1:], anywhere=anywhere)


@pytest.mark.parametrize("argv", COMMANDS)
def test_each_command_can_be_read(argv):
    values, words = read(argv)
    for key in SIZES:
        if key in values:
            parse_size(values[key], whole=1 << 30)
    for key in TIMES:
        if key in values:
            parse_duration(values[key])
    assert not any(word.startswith("--") for word in words[:1])


def test_a_command_that_is_wrong_would_be_found():
    with pytest.raises(climits.InvalidValueError, match="unknown option --memroy"):
        read(*climits_commands("$ climits run --memroy 60M -- ./app  # a hard limit"))
    with pytest.raises(climits.InvalidValueError, match="needs a value"):
        read(*climits_commands("$ climits run --memory"))
    with pytest.raises(KeyError):
        read(*climits_commands("$ climits rnu -- ./app"))
    found = climits_commands('$ climits a --b "$(climits c d)" && true | climits e\n# climits f')
    assert list(found) == [["c", "d"], ["a", "--b", "1G"], ["e"], ["f"]]


def test_the_tour_shows_every_command():
    beside_their_kin = {"thaw", "kill", "reclaim", "ls", "version"}
    assert set(main.COMMANDS) - {argv[0] for argv in commands(TOUR)} <= beside_their_kin


def test_the_readme_shows_the_range():
    (first, second) = (blocks(ENGLISH, "console")[i] for i in (0, 1))
    assert re.findall(r"^\$ (make \w+)", first, re.M) == ["make demo", "make test"]
    assert len(second.splitlines()) == 5
    assert len({argv[0] for argv in climits_commands(second)}) == 5


@pages
def test_each_target_of_make_is_there(name):
    targets = set(re.findall(r"^([a-z-]+)\b[^:=\n]*:", (ROOT / "Makefile").read_text(), re.M))
    text = PAGES[name].read_text(encoding="utf-8")
    assert set(re.findall(r"(?:`|\$ )make ([a-z-]+)", text)) <= targets


@pages
def test_commands_named_in_the_text_are_there(name):
    text = PAGES[name].read_text(encoding="utf-8")
    for code in re.findall(r"`(climits [a-z][^`]*)`", text):
        read(shlex.split(code)[1:])


# ---- Python ----------------------------------------------------------------------------------

PYTHON = [
    pytest.param(block, id=f"{name}: {number}")
    for name, path in PAGES.items()
    for number, block in enumerate(blocks(path, "python"))
]


def takes(function):
    """The keywords that a function of ours takes."""
    parameters = inspect.signature(function).parameters.values()
    names = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        names |= inspect.signature(Spec).parameters.keys()
    return names


def check_python(block):
    tree = ast.parse(block)
    exec(compile(ast.Module([n for n in tree.body if is_import(n)], []), "page", "exec"), {})
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Attribute) and ast.unparse(node).startswith("climits.")):
            continue
        value = climits
        for part in ast.unparse(node).split(".")[1:]:
            value = getattr(value, part)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("climits."):
            function = climits
            for part in ast.unparse(node.func).split(".")[1:]:
                function = getattr(function, part)
            assert {k.arg for k in node.keywords} <= takes(function)


def is_import(node):
    return isinstance(node, (ast.Import, ast.ImportFrom))


@pytest.mark.parametrize("block", PYTHON)
def test_each_example_in_python_uses_what_is_there(block):
    check_python(block)


def test_an_example_that_is_wrong_would_be_found():
    with pytest.raises(AttributeError):
        check_python("climits.rnu([])")
    with pytest.raises(AssertionError):
        check_python("climits.run([], memroy=1)")
    with pytest.raises(ImportError):
        check_python("from climits import nonsense")


# ---- the two languages -------------------------------------------------------------------------


def parts(text):
    """A page as blocks of lines: a fence, or what stands between empty lines."""
    block, fenced = [], False
    for line in [*text.splitlines(), ""]:
        fenced ^= line.startswith("```")
        if line or fenced:
            block.append(line)
        elif block:
            yield block
            block = []


def without_comments(line):
    """A line of code without the words of its comment, which belong to the language."""
    return re.sub(r"(  +#) .*", r"\1", line)


def code_in(text):
    return sorted(re.findall(r"`[^`]+`", text))


def links_in(text):
    return re.findall(r"(!?)\[[^\]]*\]\(([^)]+)\)", text)


def figures_in(text):
    """Versions, sizes and statuses: what a translation may not change."""
    text = re.sub(r"\]\([^)]+\)", "", text)
    return sorted(re.findall(r"v[12]\b|(?<![\w.])\d[\d.]*\d[A-Z]?|(?<![\w.])\d(?![\w.])", text))


def described(block):
    """(kind of a block, all of it that must be the same in each language)."""
    first, text = block[0], "\n".join(block)
    if first.startswith("```"):
        return "code", [without_comments(line) for line in block]
    if first.startswith("#"):
        return "heading", len(first.partition(" ")[0])
    if first.startswith("|"):
        rows = [row.strip("|").split("|") for row in block]
        return "table", [
            [(code_in(cell), not cell.strip(), set(cell.strip()) == {"-"}) for cell in row]
            for row in rows
        ]
    if first.startswith("- "):
        items = re.split(r"^- ", text, flags=re.M)[1:]
        return "list", [(code_in(item), links_in(item)) for item in items]
    return "text", code_in(text), links_in(text), figures_in(text)


LANGUAGES = ("English | [简体中文](README.zh-CN.md)", "[English](README.md) | 简体中文")


def structure(text):
    # Each leads to the other at the top, with itself as plain text.
    languages = (
        r"^(?:English \| \[简体中文\]\(README\.zh-CN\.md\)|\[English\]\(README\.md\) \| 简体中文)$"
    )
    text, times = re.subn(languages, "LANGUAGES", text, flags=re.M)
    assert times == 1 and text.splitlines()[2] == "LANGUAGES"
    return [described(block) for block in parts(text)]


def test_both_languages_say_the_same_in_the_same_order():
    english, chinese = (structure(p.read_text(encoding="utf-8")) for p in (ENGLISH, CHINESE))
    assert chinese == english
    kinds = {kind for kind, *_ in english}
    assert kinds == {"code", "heading", "table", "list", "text"}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("$ make demo", "$ make dmeo"),
        ("--memory 60M --timeout", "--memory 90M --timeout"),
        ("\n## ", "\n### "),
        ("(docs/tour.md)", "(docs/top.md)"),
        ("`climits doctor`", "climits doctor"),
        ("6.12", "6.11"),
        ("| systemd", "| | systemd"),
        ("- ", ""),
        ("(docs/images/run.svg)", "(docs/images/top.svg)"),
    ],
)
def test_a_difference_between_the_languages_would_be_found(text, other):
    page = CHINESE.read_text(encoding="utf-8")
    assert text in page
    assert structure(page.replace(text, other, 1)) != structure(page)


def test_the_chinese_page_is_in_chinese():
    prose = [
        block for block in parts(CHINESE.read_text(encoding="utf-8")) if block[0][0] not in "`|"
    ]
    text = "".join(line for block in prose for line in block)
    assert len(re.findall(r"[\u4e00-\u9fff]", text)) > 250
    # A line that is broken between two ideographs is shown with a space there.
    assert all(len(block) == 1 or block[0].startswith("- ") for block in prose)


# ---- links, the picture, the length ------------------------------------------------------------


@pages
def test_each_link_leads_somewhere(name):
    path = PAGES[name]
    for _, target in links_in(path.read_text(encoding="utf-8")):
        assert not re.match(r"\w+:", target), "every page that is linked to is here"
        assert (path.parent / target).exists(), target


def test_the_picture_is_small_and_needs_nothing_from_elsewhere():
    text = (ROOT / "docs/images/run.svg").read_text(encoding="utf-8")
    assert len(text) < 20_000
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"(?:href|src|url)\b|@import|@font-face|<script", text)
    assert set(re.findall(r"https?://[^\"]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_picture_is_of_commands_that_work():
    svg = "{http://www.w3.org/2000/svg}"
    lines = [e.text for e in ElementTree.parse(ROOT / "docs/images/run.svg").iter(f"{svg}text")]
    shown = [argv for line in lines if line.startswith("$ ") for argv in climits_commands(line)]
    assert [argv[0] for argv in shown] == ["supervise", "suggest"]
    for argv in shown:
        read(argv)
    # What the alternative text tells is what is seen.
    alternative = re.search(r"!\[([^\]]+)\]", ENGLISH.read_text(encoding="utf-8"))[1]
    for figure in re.findall(r"\d+M", alternative):
        assert re.search(rf"\b{figure[:-1]}(?:\.\d)?M\b", "\n".join(lines)), figure


@pytest.mark.parametrize("path", [ENGLISH, CHINESE], ids=lambda path: path.name)
def test_it_fits_two_screens(path):
    picture = ElementTree.parse(ROOT / "docs/images/run.svg").getroot()
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) + int(picture.get("height")) // LINE <= TWO_SCREENS
