"""What docs/design.md shows and names is so; the pictures are what their scripts draw."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from climits.program.verdict import judge

from .test_architecture import BASE, DOORS, FILES, NAMES, ROOMS, SOURCE, imports, room_of

ROOT = Path(__file__).parents[2]
TOOLS, IMAGES = ROOT / "tools", ROOT / "docs" / "images"
DESIGN = (ROOT / "docs/design.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
#: Made by scripts that need nothing but the tree: others come from real runs.
DRAWN = ("born", "design", "pause", "verdict", "versions")


@pytest.fixture
def picture():
    return ElementTree.parse(IMAGES / "design.svg").getroot()


def boxes(picture):
    """Room to (left, top, right, bottom)."""
    found = {}
    for box in picture.iter(f"{SVG}rect"):
        if room := box.get("data-room"):
            assert room not in found
            x, y, width, height = (float(box.get(n)) for n in ("x", "y", "width", "height"))
            found[room] = (x, y, x + width, y + height)
    return found


def arrows(picture):
    """(from, to) to the points of the arrow's line."""
    found = {}
    for group in picture.iter(f"{SVG}g"):
        if group.get("data-from"):
            pair = group.get("data-from"), group.get("data-to")
            assert pair not in found
            numbers = [float(n) for n in re.findall(r"[\d.]+", group.find(f"{SVG}path").get("d"))]
            found[pair] = list(zip(numbers[::2], numbers[1::2], strict=True))
    return found


def imported():
    """(room, another that some module of it imports from), from the source."""
    return {
        (room_of(f"climits.{NAMES[path]}"), room_of(name))
        for path in FILES
        if NAMES[path] not in DOORS
        for name in imports(path)
        if name.startswith("climits.") and room_of(name) is not None
    } - {(room, room) for room in ROOMS}


# ---- the picture of the rooms --------------------------------------------------------------


def test_its_boxes_are_the_rooms_the_last_on_top(picture):
    found = boxes(picture)
    assert sorted(found, key=lambda room: -found[room][1]) == list(ROOMS)


def test_its_arrows_are_the_imports(picture):
    pairs = imported()
    assert ("cli", "program") in pairs and ("launch", "base") in pairs
    assert set(arrows(picture)) == pairs


def test_each_arrow_goes_down_from_the_one_box_to_the_other(picture):
    found = boxes(picture)
    columns = {}
    for (room, other), points in arrows(picture).items():
        (x, y), (x2, y2) = points
        assert x == x2
        assert y == found[room][3] < y2 == found[other][1]
        assert found[room][0] < x < found[room][2]
        columns.setdefault(room, set()).add(x)
    # One line for each room, apart from those of all others.
    assert all(len(xs) == 1 for xs in columns.values())
    assert len(set.union(*columns.values())) == len(columns)


def test_its_description_tells_the_same(picture):
    told = picture.find(f"{SVG}desc").text.rstrip(".").split("; ")
    pairs = set()
    for sentence in told:
        room, _, others = sentence.partition(" imports from ")
        pairs |= {(room, other) for other in others.split(", ") if other != "none"}
    assert pairs == imported()


# ---- the page ------------------------------------------------------------------------------


def rows():
    """Of the table of rooms: (room, what it holds), in order."""
    table = DESIGN.partition("| room | what it holds |\n| --- | --- |\n")[2].partition("\n\n")[0]
    for line in table.splitlines():
        name, holds = (cell.strip() for cell in line.strip("|").split(" | ", 1))
        words = re.findall(r"`([^`]+)`", name)
        yield ("base" if tuple(words) == BASE else words[0].removesuffix("/")), holds


def test_its_table_has_each_room_once_in_order():
    assert [room for room, _ in rows()] == list(reversed(ROOMS))


@pytest.mark.parametrize(("room", "holds"), list(rows()), ids=lambda x: x if x in ROOMS else "")
def test_what_the_table_names_is_in_the_room(room, holds):
    folder = SOURCE if room == "base" else SOURCE / room
    classes = {
        node.name
        for path in folder.glob("*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }
    for word in re.findall(r"`([^`]+)`", holds):
        if word.endswith("/"):
            assert (folder / word).is_dir(), word
        else:
            assert (folder / f"{word}.py").exists() or (folder / word).exists() or word in classes


def test_the_files_that_it_names_are_there():
    named = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|c|toml))`", DESIGN))
    assert {"cgroup/layout.py", "cgroup/files.py", "launch/_spawn.c"} <= named
    places = (SOURCE, SOURCE.parent, ROOT)
    missing = [n for n in named if not any((place / n).exists() for place in places)]
    assert missing == []


# ---- all pictures --------------------------------------------------------------------------


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_what_its_script_draws(name):
    tool = [sys.executable, TOOLS / f"picture_{name}.py", "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_script_says_which_picture_is_old(tmp_path):
    for path in (*TOOLS.glob("svg.py"), TOOLS / "picture_born.py"):
        (tmp_path / "tools").mkdir(exist_ok=True)
        (tmp_path / "tools" / path.name).write_text(path.read_text())
    tool = [sys.executable, tmp_path / "tools/picture_born.py"]
    stale = subprocess.run([*tool, "--check"], capture_output=True, text=True, check=False)
    assert (stale.returncode, stale.stdout) == (1, "docs/images/born.svg: run picture_born.py\n")
    assert subprocess.run(tool, check=False).returncode == 0
    made = (tmp_path / "docs/images/born.svg").read_text()
    assert made == (IMAGES / "born.svg").read_text()
    assert subprocess.run([*tool, "--check"], check=False).returncode == 0


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_told_and_fits_its_frame_in_light_and_dark(name):
    text = (IMAGES / f"{name}.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    width, height = (float(root.get(n)) for n in ("width", "height"))
    assert width <= 480  # or a phone makes its letters too small
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text and len(root.find(f"{SVG}desc").text) > 60
    assert "@media(prefers-color-scheme:dark)" in text
    assert "http" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    styled = set(re.findall(r"\.([a-z]+)\{", root.find(f"{SVG}style").text))
    for part in root.iter():
        assert set((part.get("class") or "").split()) <= styled
        for a, b in (("x", "y"), ("cx", "cy")):
            if part.get(a):
                assert 0 <= float(part.get(a)) <= width and 0 <= float(part.get(b)) <= height
        if part.tag == f"{SVG}rect" and part.get("x"):
            assert float(part.get("x")) + float(part.get("width")) <= width
            assert float(part.get("y")) + float(part.get("height")) <= height


def test_the_questions_of_the_verdict_are_those_of_the_code(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOLS))
    import picture_verdict

    for _, arguments, verdict in picture_verdict.QUESTIONS:
        assert judge(**arguments) == verdict
    arguments, verdict = picture_verdict.LAST
    assert judge(**arguments) == verdict
    # All that judge can say of what ran in a cgroup is in the picture.
    said = {
        judge(status=status, oom_kill=kills, timed_out=timed_out, stopped=stopped)
        for status in (0, 9, 256)
        for kills in (0, 1)
        for timed_out in (False, True)
        for stopped in (False, True)
    }
    assert said == {v for _, _, v in picture_verdict.QUESTIONS} | {verdict}


def test_each_picture_stands_on_a_page():
    pages = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs").rglob("*.md"))
    assert [name for name in DRAWN if f"images/{name}.svg)" not in pages] == []
