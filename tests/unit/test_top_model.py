"""The rows of `climits top`, their order and their text: no terminal, no kernel."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climits.observe.sampler import Sample
from climits.observe.top import columns, draw
from climits.observe.top.columns import HEADINGS, Painter, fit
from climits.observe.top.meanings import MEANINGS, meaning
from climits.observe.top.model import FLASH, KEPT, SORTS, SPAN, Model
from climits.units import UNLIMITED

MIB = 1 << 20
NOTHING = dict.fromkeys(Sample.__annotations__)


class Fake:
    """What a sample looks like."""

    def __init__(self, path, time=0.0, **figures):
        self.__dict__.update(NOTHING)
        self.path, self.time = path, time
        assert figures.keys() <= NOTHING.keys()
        self.__dict__.update(figures)


def look(model, time=0.0, **figures):
    """A refresh: figures by path, such as {"/a": {"current": 5}}."""
    return model.update({p: Fake(p, time, **f) for p, f in figures.pop("at").items()})


def model_of(figures, **options):
    model = Model(**options)
    look(model, at=figures)
    return model


def shown(model):
    return [row.path for row in model.shown]


TREE = {
    "/": {"current": 100},
    "/a": {"current": 30},
    "/a/x": {"current": 5},
    "/a/y": {"current": 25},
    "/b": {"current": 60},
    "/b/z": {"current": 60},
}


# ---- order ---------------------------------------------------------------------------------


def test_a_tree_has_each_below_its_parent_the_largest_first():
    model = model_of(TREE)
    assert shown(model) == ["/", "/b", "/b/z", "/a", "/a/y", "/a/x"]
    assert [row.branch for row in model.shown] == ["", "├─ ", "│  └─ ", "└─ ", "   ├─ ", "   └─ "]


def test_a_list_has_no_levels():
    model = model_of(TREE, tree=False)
    assert shown(model) == ["/", "/b", "/b/z", "/a", "/a/y", "/a/x"]
    assert {row.branch for row in model.shown} == {""}
    model.sort_by("name")
    assert shown(model) == sorted(TREE)
    model.show_tree(True)
    assert shown(model) == ["/", "/a", "/a/x", "/a/y", "/b", "/b/z"]


def test_the_same_order_again_is_the_other_way_round():
    model = model_of(TREE, tree=False)
    model.sort_by("usage")
    assert shown(model) == ["/a/x", "/a/y", "/a", "/b", "/b/z", "/"]
    model.sort_by("usage")
    assert shown(model)[0] == "/"


def test_what_is_not_known_comes_last_both_ways():
    figures = {"/a": {}, "/b": {"oom_kill": 0}, "/c": {"oom_kill": 3}}
    model = model_of(figures, tree=False, sort="oom")
    assert shown(model) == ["/c", "/b", "/a"]
    model.sort_by("oom")
    assert shown(model) == ["/b", "/c", "/a"]


@pytest.mark.parametrize("name", SORTS)
def test_each_order_works_with_and_without_figures(name):
    model = Model(sort=name, tree=False)
    full = {n: 7 for n in NOTHING if n not in ("path", "time")}
    more = dict.fromkeys(full, 9) | {"max": 10}
    for time in (1.0, 2.0):
        look(model, time, at={"/a": {}, "/b": full, "/c": more})
    assert set(shown(model)) == {"/a", "/b", "/c"}
    if name != "name":
        assert shown(model)[-1] == "/a"


def test_percent_is_of_its_own_limit():
    figures = {
        "/a": {"current": 50, "max": 100},
        "/b": {"current": 90, "max": 1000},
        "/c": {"current": 10**9, "max": UNLIMITED},
        "/d": {"current": 1, "max": 0},
    }
    model = model_of(figures, tree=False, sort="percent")
    assert shown(model)[:2] == ["/a", "/b"]
    assert [model.rows[p].share() for p in figures] == [0.5, 0.09, None, None]


def test_a_bar_is_measured_by_the_lowest_limit_from_it_up():
    figures = {
        "/": {"max": None},
        "/a": {"max": 100},
        "/a/b": {"max": UNLIMITED},
        "/a/c": {"max": 200},
        "/a/d": {"max": 50},
        "/e": {"max": UNLIMITED},
    }
    model = model_of(figures)
    bounds = [model.rows[path].bound() for path in figures]
    assert bounds == [None, 100, 100, 100, 50, None]


def test_a_cgroup_whose_parent_cannot_be_read_stands_below_the_next_one():
    model = model_of({"/": {}, "/a/b/c": {}, "/d": {}})
    assert model.rows["/a/b/c"].parent is model.rows["/"]
    part = model_of({"/s/a": {}, "/s/a/b": {}, "/s/c": {}})
    assert [row.parent and row.parent.path for row in part.shown] == [None, "/s/a", None]


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=30), st.text("abc ", max_size=3)
)
def test_any_tree_is_shown_whole_and_each_row_below_its_parent(paths, words):
    figures = {"/" + "/".join(parts): {"current": len(parts)} for parts in paths}
    model = model_of(figures)
    assert sorted(shown(model)) == sorted(figures)
    for i, row in enumerate(model.shown):
        assert row.parent is None or shown(model).index(row.parent.path) < i
        assert len(row.branch) == 3 * len(list(row.above()))
    model.set_filter(words)
    wanted = {row for row in model.rows.values() if row.is_match}
    assert set(model.shown) == wanted | {up for row in wanted for up in row.above()}


# ---- folding and filter --------------------------------------------------------------------


def test_what_is_folded_hides_what_is_below_it():
    model = model_of(TREE)
    model.fold(model.rows["/a"], True)
    assert shown(model) == ["/", "/b", "/b/z", "/a"]
    model.set_filter("x")  # a match is shown wherever it is
    assert shown(model) == ["/", "/a", "/a/x"]
    model.set_filter("")
    model.fold(model.rows["/a"], False)
    assert len(shown(model)) == len(TREE)


def test_a_filter_shows_those_above_a_match_too_and_tells_them_apart():
    model = model_of(TREE)
    model.set_filter(" Y ")
    assert shown(model) == ["/", "/a", "/a/y"]
    assert [row.is_match for row in model.shown] == [False, False, True]
    model.show_tree(False)
    assert shown(model) == ["/a/y"]
    model.set_filter("a y")
    assert shown(model) == ["/a/y"]
    model.set_filter("a z")
    assert shown(model) == []


def test_a_filter_knows_the_owner():
    container = "/docker/" + "3f2a9c1b04d7" + "0" * 52
    model = model_of({container: {}, "/other": {}}, tree=False)
    model.set_filter("docker 3f2a")
    assert shown(model) == [container]


# ---- the past ------------------------------------------------------------------------------


def test_cgroups_come_and_go():
    model = model_of(TREE)
    model.fold(model.rows["/a"], True)
    look(model, at={"/": {}, "/a": {}, "/n": {}, "/a/x": {}})
    assert set(model.rows) == {"/", "/a", "/n", "/a/x"}
    assert model.rows["/a"].children.keys() == {"/a/x"} and model.rows["/a"].is_folded
    look(model, at={})
    assert model.rows == {} and model.shown == []


def test_history_keeps_the_last_refreshes():
    model = Model()
    for i in range(KEPT + 5):
        look(model, float(i), at={"/a": {"current": i}})
    assert list(model.rows["/a"].history) == list(range(5, KEPT + 5))


@pytest.mark.parametrize("width", range(1, 31))
def test_a_spark_is_filled_by_what_is_kept(width):
    for tick in range(1000, 1010):
        assert " " not in draw.spark([9] * KEPT, tick, width, span=SPAN)


def test_rates_come_from_two_samples():
    model = Model()
    look(model, 10.0, at={"/a": {"cpu": 1.0, "pressure_some": 0.0}, "/b": {}})
    assert model.rows["/a"].rate("cpu") is None
    look(model, 12.0, at={"/a": {"cpu": 2.0, "pressure_some": 0.5}, "/b": {}})
    row = model.rows["/a"]
    assert (row.rate("cpu"), row.rate("pressure_some"), row.rate("pressure_full")) == (
        0.5,
        0.25,
        None,
    )
    assert model.rows["/b"].rate("cpu") is None
    look(model, 13.0, at={"/a": {"cpu": 0.1}})  # another one of that name
    assert row.rate("cpu") == 0.0


def test_an_oom_counter_that_moves_stands_out_for_a_while():
    model = Model()
    look(model, at={"/a": {"oom_kill": 2}})
    row = model.rows["/a"]
    assert not row.flashes(model.tick)
    assert [r.path for r in look(model, at={"/a": {"oom_kill": 3}})] == ["/a"]
    assert row.flashes(model.tick) and row.oom_new == 1
    look(model, at={"/a": {"oom_kill": 5}})
    assert row.oom_new == 3
    for _ in range(FLASH):
        assert row.flashes(model.tick)
        assert look(model, at={"/a": {"oom_kill": 5}}) == []
    assert not row.flashes(model.tick)
    look(model, at={"/a": {"oom_kill": 6}})
    assert row.oom_new == 1


def test_an_oom_kill_is_told_of_the_cgroup_where_it_was():
    model = model_of({p: {"oom_kill": 0} for p in ("/", "/a", "/a/x", "/b")})
    moved = look(model, at={p: {"oom_kill": n} for p, n in
                            {"/": 2, "/a": 1, "/a/x": 1, "/b": 1}.items()})  # fmt: skip
    assert {row.path for row in moved} == {"/a/x", "/b"}


def test_a_counter_that_falls_or_vanishes_does_not_stand_out():
    model = model_of({"/a": {"oom_kill": 4}})
    for count in (1, None, 3):
        assert look(model, at={"/a": {"oom_kill": count}}) == []
    assert not model.rows["/a"].flashes(model.tick)


# ---- drawing -------------------------------------------------------------------------------


def text(pieces):
    return "".join(piece[0] for piece in pieces)


@pytest.mark.parametrize(
    ("kinds", "whole", "plain", "blocks"),
    [
        ((50, 25, 15), 100, "###+:.....", "███▓░     "),
        ((100, 100, 0), 100, "##########", "██████████"),
        ((0, 0, 0), 100, "..........", "          "),
        ((100, 0, 100), 100, "::::::::::", "░░░░░░░░░░"),
        ((300, 300, 0), 100, "##########", "██████████"),
        ((40, None, None), 100, "++++......", "▓▓▓▓      "),
        ((None, None, None), 100, "..........", "          "),
        ((50, 10, 10), None, "..........", "          "),
        ((50, 10, 10), 0, "..........", "          "),
        ((10, 20, 20), 100, "##::......", "██░░      "),  # usage is a fuzzy counter on v1
    ],
)
def test_bar(kinds, whole, plain, blocks):
    assert text(draw.bar(kinds, whole, 10, ascii_only=True)) == plain.replace(".", " ")
    assert text(draw.bar(kinds, whole, 10)) == blocks


def test_the_kinds_of_a_bar_differ_without_colour():
    styles = [style for _, style in draw.KINDS]
    for ascii_only in (False, True):
        assert len({draw.fill(style, ascii_only) for style in styles} | {" "}) == len(styles) + 1


@given(
    st.tuples(*[st.none() | st.integers(0, 10**13)] * 3),
    st.none() | st.integers(0, 10**13),
    st.integers(0, 40),
)
def test_a_bar_is_as_wide_as_it_was_asked_to_be(kinds, whole, width):
    assert len(text(draw.bar(kinds, whole, width))) == width


def test_spark_of_one_value_a_character():
    line = draw.spark([0, 1, 4, 8], 4, 4, whole=8, span=4)
    assert line == " ▁▄█"
    assert draw.spark([0, 1, 4, 8], 4, 6, whole=8, span=6) == "   ▁▄█"
    assert draw.spark([0, 1, 4, 8], 4, 4, whole=8, span=4, ascii_only=True) == " _-#"


def test_spark_shows_the_highest_of_those_that_share_a_character():
    values = [1, 1, 8, 1, 1, 1]
    # Ticks 1 to 6, two a character: (1), (2 3), (4 5), (6).
    assert draw.spark(values, 6, 4, whole=8, span=8) == "▁█▁▁"
    # It moves on as a whole: the peak stays in its character.
    assert draw.spark([*values, 1], 7, 4, whole=8, span=8) == "▁█▁▁"
    assert draw.spark([*values, 1, 1], 8, 4, whole=8, span=8) == "█▁▁▁"


def test_spark_of_its_own_highest_and_of_nothing():
    assert draw.spark([2, 4], 2, 2, span=2) == "▄█"
    assert draw.spark([None, None], 2, 2, span=2) == "  "
    assert draw.spark([0, 0], 2, 2, span=2) == "  "
    assert draw.spark([], 0, 3, span=60) == "   "
    assert draw.spark([5], 1, 0, span=60) == ""


@given(
    st.lists(st.none() | st.integers(0, 10**12), max_size=SPAN),
    st.integers(0, 10**6),
    st.integers(0, 80),
    st.none() | st.integers(0, 10**12),
)
def test_any_spark_is_as_wide_as_it_was_asked_to_be(history, tick, width, whole):
    assert len(draw.spark(history, tick + len(history), width, whole=whole, span=SPAN)) == width


@pytest.mark.parametrize(
    ("given", "width", "cut", "front"),
    [("abcdef", 6, "abcdef", "abcdef"), ("abcdef", 4, "abc…", "…def"), ("abcdef", 1, "…", "…"),
     ("abcdef", 0, "", ""), ("", 0, "", "")],
)  # fmt: skip
def test_cut(given, width, cut, front):
    assert draw.cut(given, width) == cut and draw.cut(given, width, front=True) == front
    assert draw.cut(given, width, ascii_only=True) == cut.replace("…", "~")


def test_lines_of_a_tree_without_line_characters():
    assert draw.branch("│  └─ ", ascii_only=True) == "|  `- "
    assert draw.branch("│  └─ ", ascii_only=False) == "│  └─ "


# ---- columns -------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 160, 200, 400])
def test_the_columns_fill_the_terminal(width):
    chosen = fit(width)
    assert sum(column.width + 1 for column in chosen) - 1 == width
    assert {"usage", "limit", "percent", "bar", "trend", "oom", "psi", "name"} <= {
        column.name for column in chosen
    }
    assert chosen[-1].name == "name" and chosen[-1].width >= 22


def test_a_wider_terminal_shows_more():
    counts = [len(fit(width)) for width in (80, 100, 130, 160)]
    assert counts == sorted(counts) and counts[0] < counts[-1] == len(columns._ALL) + 1


def test_each_order_has_a_heading():
    assert SORTS.keys() <= HEADINGS.keys()


FULL = {
    "current": 50 * MIB, "peak": 60 * MIB, "anon": 30 * MIB, "file": 15 * MIB, "shmem": 0,
    "kernel": 5 * MIB, "swap": MIB, "max": 100 * MIB, "limit_hits": 3, "oom_kill": 1, "pids": 12,
    "cpu": 1.0, "pressure_some": 0.5, "pressure_full": 0.1,
}  # fmt: skip


def painted(figures, width=200, ascii_only=False, path="/climits/web"):
    model = Model()
    look(model, 1.0, at={path: figures})
    painter = Painter(1 << 33, ascii_only=ascii_only)
    painter.columns = fit(width)
    return painter, model, model.rows[path]


@pytest.mark.parametrize("width", [1, 20, 79, 80, 160, 300])
@pytest.mark.parametrize("figures", [{}, FULL], ids=["nothing", "all"])
@pytest.mark.parametrize("path", ["/", "/climits/web", "/a" * 300, "/docker/" + "0a" * 32])
def test_each_line_is_as_wide_as_its_heading(width, figures, path):
    painter, model, row = painted(figures, width, path=path)
    heading = text(painter.heading("usage", False)).rstrip()
    assert len(text(painter.row(row, model.tick))) == len(text(painter.heading("usage", False))) - 1
    assert "USAGE" in heading


def test_a_line_tells_all_figures():
    painter, model, row = painted(FULL)
    look(model, 2.0, at={row.path: FULL | {"cpu": 1.25, "pressure_some": 0.75}})
    words = text(painter.row(row, model.tick)).split()
    for word in ("50M", "100M", "50%", "30M", "15M", "1M", "60M", "3", "1", "25.0", "12", row.path):
        assert word in words


def test_a_figure_that_is_not_reported_is_a_dash_and_never_0():
    painter, model, row = painted({})
    cells = text(painter.row(row, model.tick)).split()
    assert set(cells) == {"-", row.path}


def test_oom_kills_that_are_new_are_told_in_figures_too():
    painter, model, row = painted(FULL)
    look(model, at={row.path: FULL | {"oom_kill": 3}})
    pieces = dict(painter.row(row, model.tick))
    assert pieces["  3+2"] == "flash"
    painter.is_blinking = False
    assert dict(painter.row(row, model.tick))["  3+2"] == "bad"


def test_near_its_limit_a_cgroup_is_marked():
    styles = []
    for current in (79, 80, 94, 95, 150):
        painter, model, row = painted({"current": current, "max": 100})
        pieces = painter.row(row, model.tick)
        styles.append(next(style for piece, style in pieces if piece.endswith("%")))
    assert styles == ["", "warn", "warn", "bad", "bad"]


def test_brackets_stand_around_the_bar_of_its_own_limit():
    painter, model, row = painted(FULL)
    assert "[" in text(painter.row(row, model.tick))
    painter, model, row = painted(FULL | {"max": UNLIMITED})
    assert "[" not in text(painter.row(row, model.tick))


@pytest.mark.parametrize("name", SORTS)
def test_the_heading_tells_the_order(name):
    painter = Painter(1, ascii_only=False)
    painter.columns = fit(200)
    assert text(painter.heading(name, False)).count("▼") == (name != "name")
    assert text(painter.heading(name, True)).count("▲") == (name != "name")
    painter.ascii_only = True
    assert text(painter.heading(name, name == "name")).isascii()


def test_a_container_is_named_by_its_owner_where_there_is_no_room_for_its_id():
    path = "/docker/" + "3f2a9c1b04d7" + "0" * 52
    painter, model, row = painted(FULL, 80, path=path)
    assert "docker 3f2a9c1b04d7" in text(painter.row(row, model.tick))
    painter, model, row = painted(FULL, 300, path=path)
    assert f"{path}  docker 3f2a9c1b04d7" in text(painter.row(row, model.tick))


def test_a_name_that_a_terminal_would_act_upon_is_escaped():
    painter, model, row = painted(FULL, path="/evil\x1b[2J\nname")
    assert text(painter.row(row, model.tick)).isprintable()


def test_a_folded_row_says_so():
    model = model_of(TREE)
    model.fold(model.rows["/a"], True)
    painter = Painter(1)
    painter.columns = fit(120)
    assert "└─ +a" in text(painter.row(model.rows["/a"], model.tick))


class Lazy:
    """A sample that tells which of its figures were asked for."""

    def __init__(self, path, asked):
        self.path, self.time, self._asked = path, 0.0, asked

    def __getattr__(self, name):
        assert name in NOTHING
        self._asked.add((self.path, name))
        return 5


def test_what_is_not_seen_is_not_worked_out():
    asked = set()
    model = Model()
    paths = [f"/c{i}" for i in range(1000)]
    for _ in range(2):
        asked.clear()
        model.update({path: Lazy(path, asked) for path in paths})
    # The sparkline and the OOM counter go on for all of them.
    assert {name for _, name in asked} == {"current", "oom_kill"}
    painter = Painter(1)
    painter.columns = fit(200)
    painter.row(model.shown[0], model.tick)
    assert {path for path, name in asked if name == "anon"} == {model.shown[0].path}


# ---- memory.stat explained -----------------------------------------------------------------


def test_each_meaning_is_a_short_phrase():
    for key, phrase in MEANINGS.items():
        assert phrase and len(phrase) <= 62 and not phrase.endswith("."), key
    assert meaning("total_rss") == meaning("rss") and meaning("of_a_later_kernel") == ""
