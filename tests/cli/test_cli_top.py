"""`climits top`: its screen, driven by keys, and the command itself in a real terminal."""

import asyncio
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest
from support import IN_VM, PATIENCE

from climits.cgroup.group import Cgroup
from climits.cli import main
from climits.errors import CgroupGoneError, InvalidValueError, UnsupportedError
from climits.observe.sampler import Sample
from climits.units import UNLIMITED

if IN_VM:
    pytest.skip("a screen is the same on every kernel, and too slow here", allow_module_level=True)
pytest.importorskip("textual", reason="needs climits[top]")

from textual.widgets import Input

from climits.observe.top import app as top
from climits.observe.top.details import Details, Process
from climits.observe.top.dialogs import HELP, Ask, Confirm, Help, Order
from climits.observe.top.feed import Look

MIB = 1 << 20
NOTHING = dict.fromkeys(Sample.__annotations__)


class Fake:
    """What a sample looks like."""

    def __init__(self, path, **figures):
        self.__dict__.update(NOTHING | {"time": 0.0} | figures, path=path)


class Feed:
    """A feed that tells what the test wants to be seen."""

    def __init__(self, path, interval, tell):
        self.tell, self.since, self.wanted, self.refreshed = tell, None, None, 0

    def start(self):
        pass

    stop = start

    def want(self, path):
        self.wanted = path

    def refresh(self):
        self.refreshed += 1


SHOP = {
    "/": {"current": 900 * MIB},
    "/shop": {"current": 500 * MIB, "max": 512 * MIB, "anon": 400 * MIB, "file": 90 * MIB},
    "/shop/web": {"current": 300 * MIB, "max": 400 * MIB, "oom_kill": 2, "anon": 300 * MIB},
    "/shop/db": {"current": 200 * MIB, "max": UNLIMITED, "oom_kill": 0, "file": 90 * MIB},
    "/user": {"current": 100 * MIB},
}


class Screen:
    """The program without a terminal, and what is seen."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    @property
    def lines(self):
        strips = self.app.screen._compositor.render_strips()
        return ["".join(segment.text for segment in strip) for strip in strips]

    @property
    def text(self):
        return "\n".join(self.lines)

    @property
    def row(self):
        return self.app._table.selected and self.app._table.selected.path

    async def keys(self, *keys):
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def look(self, figures=SHOP, **options):
        samples = {path: Fake(path, **values) for path, values in figures.items()}
        self.app._feed.tell(Look(samples, options.pop("skipped", {}), **options))
        await self.pilot.pause()

    async def until(self, condition):
        deadline = time.monotonic() + 20 * PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text
            await asyncio.sleep(0.01)
        await self.pilot.pause()


@pytest.fixture
def on_screen(monkeypatch):
    """Run a test's coroutine with the program on a screen of some size."""

    def run(play, size=(80, 24), feed=Feed, **options):
        async def whole():
            if feed is not None:
                monkeypatch.setattr(top, "Feed", feed)
            app = top.TopApp(total=1 << 33, **options)
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await play(Screen(app, pilot))
            return app

        return asyncio.run(whole())

    return run


# ---- what is seen --------------------------------------------------------------------------


def test_a_screen_of_80x24(on_screen):
    async def play(screen):
        assert "looking" in screen.lines[0]
        await screen.look()
        assert "5 cgroups" in screen.lines[0] and "climits top" in screen.lines[0]
        assert "tree" in screen.lines[1] and "page cache" in screen.lines[1]  # the bar explained
        heading = screen.lines[2].split()
        assert heading == ["USAGE▼", "LIMIT", "%", "BAR", "TREND", "OOM", "PSI%", "CGROUP"]
        names = [line.split()[-1] for line in screen.lines[3:8]]
        assert names == ["/", "shop", "web", "db", "user"]
        assert "75%" in screen.lines[5] and "[" in screen.lines[5] and "max" in screen.lines[6]
        for key in ("Enter details", "t tree/flat", "s sort", "/ filter", "? help", "q quit"):
            assert key in screen.lines[22]
        for key in ("l limit", "f freeze", "u thaw", "r reclaim", "k kill", "g signal"):
            assert key in screen.lines[23]
        assert all(len(line) == 80 for line in screen.lines) and len(screen.lines) == 24

    on_screen(play)


def test_a_wider_screen_shows_more_columns_and_one_line_of_keys(on_screen):
    async def play(screen):
        await screen.look()
        assert {"CACHE", "ANON", "SWAP", "PEAK", "CPU%", "TASKS"} <= set(screen.lines[2].split())
        assert "q quit" in screen.lines[-1] and "g signal" in screen.lines[-1]

    on_screen(play, size=(160, 50))


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5), (3, 2), (200, 60)])
def test_any_size_will_do(on_screen, size):
    async def play(screen):
        await screen.look()
        await screen.keys("enter", "tab", "down", "tab", "question_mark", "escape", "s", "escape")
        await screen.pilot.resize_terminal(*reversed(size))
        await screen.look()
        await screen.pilot.resize_terminal(*size)
        await screen.look()

    assert on_screen(play, size=size).return_code in (None, 0)


def test_without_blocks_and_lines_all_is_ascii(on_screen):
    async def play(screen):
        await screen.look()
        await screen.look(details=Details(path="/", facts=[("in use", "5M")]))
        await screen.keys("enter")
        await screen.look(details=Details(path="/", facts=[("in use", "5M" * 100)]))
        assert screen.text.isascii() and "|- " in screen.text and "#" in screen.text
        await screen.keys("question_mark")
        assert screen.text.isascii()
        await screen.keys("escape", "s")
        assert screen.text.isascii()

    on_screen(play, ascii_only=True)


def test_help_fits_and_explains_every_heading(on_screen):
    assert len(HELP.splitlines()) <= 24 and max(map(len, HELP.splitlines())) <= 79

    async def play(screen):
        await screen.look()
        await screen.keys("question_mark")
        assert isinstance(screen.app.screen, Help)
        assert "Esc closes this" in screen.text and "█ anon" in screen.text
        for _, heading, _ in top_columns():
            assert heading in screen.text
        await screen.keys("escape")
        assert not isinstance(screen.app.screen, Help)

    on_screen(play)


def top_columns():
    from climits.observe.top.columns import _ALL

    return _ALL


def colours(screen):
    """The colours that are sent, without those of a terminal's own choice."""
    found = set()
    for strip in screen.app.screen._compositor.render_strips():
        for filter_ in screen.app._filters:
            if filter_.enabled:
                strip = strip.apply_filter(filter_, screen.app.screen.styles.background)
        for segment in strip:
            style = segment.style
            found |= {c.name for c in (style.color, style.bgcolor) if c} if style else set()
    return found - {"default"}


@pytest.mark.parametrize("no_color", [False, True])
def test_colours_are_the_terminals_own_or_none(on_screen, monkeypatch, no_color):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")

    async def play(screen):
        await screen.look()
        await screen.look({**SHOP, "/shop/web": SHOP["/shop/web"] | {"oom_kill": 3}})
        named = {"green", "blue", "yellow", "cyan", "red"}
        assert colours(screen) <= (set() if no_color else named)
        assert bool(colours(screen)) != no_color
        # What the colours say is said without them too.
        assert "3+1" in screen.text and "an OOM kill in /shop/web" in screen.text
        bar = next(line for line in screen.lines if " shop" in line)
        assert "█" in bar and "░" in bar

    on_screen(play)


# ---- moving about --------------------------------------------------------------------------


MANY = {f"/c{i:04}": {"current": (5000 - i) * MIB} for i in range(1000)}


def test_moving_through_many(on_screen):
    async def play(screen):
        await screen.look(MANY)
        assert screen.row == "/c0000"
        await screen.keys("down", "down", "up")
        assert screen.row == "/c0001"
        await screen.keys("end")
        assert screen.row == "/c0999" and screen.lines[21].split()[-1] == "/c0999"
        assert "of 1000" in screen.lines[1]
        await screen.keys("pageup", "pageup")
        assert screen.row < "/c0970"
        await screen.keys("home")
        assert screen.row == "/c0000" and screen.lines[3].split()[-1] == "/c0000"

    on_screen(play)


def test_only_what_is_seen_is_drawn(on_screen, monkeypatch):
    drawn = []
    painter = top.Painter.row
    monkeypatch.setattr(
        top.Painter, "row", lambda self, row, tick: drawn.append(row) or painter(self, row, tick)
    )

    async def play(screen):
        await screen.look(MANY)
        drawn.clear()
        await screen.look(MANY)
        assert 0 < len(drawn) <= 24

    on_screen(play)


def test_the_selected_row_stays_selected_when_the_order_changes(on_screen):
    async def play(screen):
        await screen.look(MANY)
        await screen.keys("down")
        await screen.look({**MANY, "/c0001": {"current": 1}})
        assert screen.row == "/c0001" and screen.lines[21].split()[-1] == "/c0001"

    on_screen(play)


def test_the_selected_cgroup_vanishes(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("down", "down")
        assert screen.row == "/shop/web"
        left = {path: figures for path, figures in SHOP.items() if path != "/shop/web"}
        await screen.look(left)
        assert screen.row == "/shop/db"
        await screen.until(lambda: "/shop/web was removed" in screen.lines[1])
        await screen.look({})
        assert screen.row is None and "no cgroup is here" in screen.text
        await screen.keys("k", "enter", "left", "space", "down", "end", "f")
        await screen.look()
        assert screen.row == "/"

    on_screen(play)


def test_tree_list_order_and_folding(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("t")
        assert "flat" in screen.lines[1] and screen.lines[5].split()[-1] == "/shop/web"
        await screen.keys("t", "down", "left")
        assert "+shop" in screen.text and "web" not in screen.text
        await screen.keys("right")
        assert "web" in screen.text
        await screen.keys("down", "left")  # from a leaf to the one above it
        assert screen.row == "/shop"
        await screen.keys("space")
        assert "+shop" in screen.text
        await screen.keys("space", "i")
        assert "USAGE▲" in screen.lines[2] and screen.lines[4].split()[-1] == "user"
        await screen.keys("greater_than_sign")
        assert "LIMIT▼" in screen.lines[2]
        await screen.keys("less_than_sign", "less_than_sign")
        assert "CGROUP▼" in screen.lines[2] or "CGROUP▲" in screen.lines[2]

    on_screen(play)


def test_the_order_is_asked_for(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("s")
        assert isinstance(screen.app.screen, Order) and "sort by" in screen.text
        letter = next(line for line in screen.lines if " PEAK" in line).split("PEAK")[0].split()[-1]
        await screen.keys(letter)
        assert screen.app.model.sort == "peak"
        await screen.keys("s", "escape")
        assert screen.app.model.sort == "peak" and not isinstance(screen.app.screen, Order)

    on_screen(play)


def test_the_mouse(on_screen):
    async def play(screen):
        await screen.look()
        await screen.pilot.click("#table", offset=(70, 3))
        assert screen.row == "/shop/web"
        await screen.pilot.click("#table", offset=(10, 0))
        await screen.until(lambda: screen.app.model.sort == "limit")

    on_screen(play)


def test_the_filter_is_written(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("slash", "w", "e")
        assert screen.row == "/shop/web" and "filter: we (1 match)" in screen.lines[1]
        assert "user" not in screen.text
        await screen.keys("q", "t", "k")  # letters, and no commands
        assert "no cgroup matches the filter" in screen.text
        await screen.keys("backspace", "backspace", "backspace", "enter")
        assert (
            isinstance(screen.app.focused, type(screen.app._table)) and "we (1" in screen.lines[1]
        )
        await screen.keys("escape")
        assert "user" in screen.text and "filter:" not in screen.lines[1]

    on_screen(play)


def test_pause(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("p")
        await screen.look({"/": {}})
        assert "PAUSED" in screen.lines[0] and "web" in screen.text
        await screen.keys("p")
        assert screen.app._feed.refreshed == 1
        await screen.look({"/": {}})
        assert "PAUSED" not in screen.lines[0] and "web" not in screen.text

    on_screen(play)


# ---- what goes wrong -----------------------------------------------------------------------


def test_what_cannot_be_read_is_counted(on_screen):
    async def play(screen):
        await screen.look(skipped={"/x": "no", "/y": "no"})
        assert "2 unreadable" in screen.lines[0]

    on_screen(play)


def test_a_read_that_hangs_is_told_of_and_the_keys_still_work(on_screen):
    async def play(screen):
        await screen.look()
        screen.app._feed.since = time.monotonic() - 60
        screen.app._draw_head()
        await screen.pilot.pause()
        assert "no answer for 1m" in screen.lines[0]
        await screen.keys("down")
        assert screen.row == "/shop"

    on_screen(play)


def test_a_feed_that_fails_at_once_ends_the_program(on_screen):
    async def play(screen):
        screen.app._feed.tell(Look(None, {}, error="no cgroup filesystem is mounted"))
        await screen.pilot.pause()

    assert on_screen(play).failure == "no cgroup filesystem is mounted"


def test_a_feed_that_fails_later_is_told_of(on_screen):
    async def play(screen):
        await screen.look()
        screen.app._feed.tell(Look(None, {}, error="out of descriptors"))
        await screen.pilot.pause()
        assert "out of descriptors" in screen.lines[1] and "web" in screen.text

    on_screen(play)


def test_a_name_that_a_terminal_would_act_upon(on_screen):
    async def play(screen):
        await screen.look({"/a\x1b[31mb\nc": {"current": 1}})
        await screen.keys("enter")
        await screen.until(lambda: "\\x1b" in screen.text)
        assert "\x1b" not in screen.text

    on_screen(play, feed=Feed)


# ---- details -------------------------------------------------------------------------------


def details(path):
    processes = [Process(pid=4000 + i, resident=i * MIB, threads=1, name=f"prog{i}", below="")
                 for i in range(30, 0, -1)]  # fmt: skip
    return Details(
        path=path, facts=[("in use", "5M: anon 4M"), ("state", "frozen")],
        stat=[(f"key{i}", "5M", "what it means") for i in range(30)], zeros=3, processes=processes,
    )  # fmt: skip


def test_details_on_a_narrow_screen(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("down", "enter")
        await screen.until(lambda: screen.app._feed.wanted == "/shop")
        await screen.look(details=details("/shop"))
        assert "anon 4M" in screen.text and "what it means" in screen.text
        assert "[memory] processes" in screen.text and "prog30" not in screen.text
        await screen.keys("tab", "end")
        assert "key29" in screen.text and "anon 4M" not in screen.text
        await screen.keys("right")
        assert "[processes] memory" in screen.text and "prog30" in screen.text
        await screen.keys("tab", "down")  # those of the next cgroup are not there yet
        await screen.until(lambda: screen.app._feed.wanted == "/shop/web")
        assert "prog30" not in screen.text
        await screen.look(details=details("/shop"))  # of the former one: too late
        assert "prog30" not in screen.text
        await screen.look(details=Details(path="/shop/web", error="the cgroup was removed"))
        await screen.keys("tab", "right")
        assert "the cgroup was removed" in screen.text
        await screen.keys("enter")
        assert screen.app._feed.wanted is None and not screen.app._pane.display

    on_screen(play)


def test_details_on_a_wide_screen(on_screen):
    async def play(screen):
        await screen.look()
        await screen.keys("enter")
        await screen.look(details=details("/"))
        line = next(line for line in screen.lines if "prog30" in line)
        assert "in use" not in line and "what it means" in screen.text

    on_screen(play, size=(160, 50))


# ---- actions -------------------------------------------------------------------------------


@pytest.fixture
def group():
    group = Cgroup.create("climits-top", memory="64M")
    yield group
    if not group.tracker.directory.is_gone():
        group.thaw()
        group.kill()
        group.remove()
    group.close()


@pytest.fixture
def program(group):
    process = subprocess.Popen(["sleep", "1000"])
    group.attach(process.pid)
    yield process
    process.kill()
    process.wait()


GROUP = "/climits/climits-top"


async def asked(screen, kind):
    await screen.until(lambda: isinstance(screen.app.screen, kind))


def test_kill_asks_first(on_screen, group, program):
    async def play(screen):
        await screen.look({GROUP: {"current": 1}})
        await screen.keys("k")
        await asked(screen, Confirm)
        assert f"kill: {GROUP}" in screen.text and "kill 1 process" in screen.text
        await screen.keys("enter", "space", "x")  # which is no yes
        assert isinstance(screen.app.screen, Confirm) and program.poll() is None
        await screen.keys("n")
        assert "left as it was" in screen.lines[1] and program.poll() is None
        await screen.keys("k")
        await asked(screen, Confirm)
        await screen.keys("y")
        await screen.until(lambda: "1 killed" in screen.text)
        assert program.wait(60 * PATIENCE) == -signal.SIGKILL

    on_screen(play)


def test_freeze_and_thaw(on_screen, group, program):
    async def play(screen):
        await screen.look({GROUP: {"current": 1}})
        for key, state in (("f", True), ("u", False)):
            await screen.keys(key)
            await asked(screen, Confirm)
            assert group.freezer.is_asked() is not state
            await screen.keys("y")
            await screen.until(lambda: not screen.app._acts.busy)
            assert group.freezer.is_asked() is state
        assert screen.app._feed.refreshed == 2

    on_screen(play)


def test_a_limit_is_written_checked_and_asked_for(on_screen, group):
    async def play(screen):
        await screen.look({GROUP: {"current": 1}})
        await screen.keys("l")
        await asked(screen, Ask)
        field = screen.app.screen.query_one("#value", Input)
        assert field.value == "64M"
        field.value = "90MB"
        await screen.keys("enter")
        await screen.until(lambda: "MB can mean powers of 1000 or of 1024" in screen.text)
        field = screen.app.screen.query_one("#value", Input)
        assert field.value == "90MB"
        field.value = "90M"
        await screen.keys("enter")
        await asked(screen, Confirm)
        assert "change the limit from 64M to 90M?" in screen.text
        assert group.memory.max == 64 * MIB
        await screen.keys("y")
        await screen.until(lambda: "the limit is now 90M" in screen.text)
        assert group.memory.max == 90 * MIB
        await screen.keys("l")
        await asked(screen, Ask)
        await screen.keys("escape")
        assert not isinstance(screen.app.screen, Ask) and group.memory.max == 90 * MIB

    on_screen(play)


@pytest.mark.parametrize("key", "lfurkg")
def test_the_root_is_refused_in_one_line(on_screen, key):
    async def play(screen):
        await screen.look()
        await screen.keys(key)
        await screen.until(lambda: "every process of the machine" in screen.text)
        assert not isinstance(screen.app.screen, (Ask, Confirm))

    on_screen(play, size=(160, 24))


@pytest.mark.parametrize("key", "lfurkg")
def test_a_cgroup_that_is_gone_is_told_of_in_one_line(on_screen, key):
    async def play(screen):
        await screen.look({"/climits/climits-not-there": {"current": 1}})
        await screen.keys(key)
        await screen.until(lambda: "no such cgroup" in screen.lines[1])

    on_screen(play, size=(160, 24))


def test_a_cgroup_that_goes_while_it_is_asked(on_screen, group, program):
    async def play(screen):
        await screen.look({GROUP: {"current": 1}})
        await screen.keys("f")
        await asked(screen, Confirm)
        program.kill()
        program.wait()
        group.remove()
        await screen.keys("y")
        await screen.until(lambda: "removed" in screen.lines[1])
        assert not screen.app._acts.busy

    on_screen(play, size=(160, 24))


def test_leaving_waits_for_what_is_half_done(on_screen):
    left = []

    async def play(screen):
        await screen.look()
        screen.app.exit = lambda *_: left.append(1)
        screen.app._acts.busy.append("kill /shop")
        await screen.keys("q")
        assert "still at work: kill /shop" in screen.text and not left
        await screen.keys("q")
        assert left
        screen.app.exit = type(screen.app).exit.__get__(screen.app)

    on_screen(play)


# ---- the command ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["a", "b"], "top takes one cgroup: b"),
        (["--interval", "fast"], "interval: fast: not a duration"),
        (["--interval", "1ms"], "interval: 1ms: too short"),
        (["--sort", "colour"], "sort: colour: no such column"),
        (["--sort="], "sort: empty: no such column"),
    ],
)
def test_what_makes_no_sense_is_refused(words, text):
    with pytest.raises(InvalidValueError) as caught:
        main.dispatch(["top", *words])
    assert str(caught.value) == text and caught.value.hint


def test_a_cgroup_to_start_from_that_there_is_not():
    with pytest.raises(CgroupGoneError, match="no such cgroup: /climits/nowhere"):
        main.dispatch(["top", "/climits/nowhere"])
    with pytest.raises(CgroupGoneError, match="is called 'climits-nowhere'"):
        main.dispatch(["top", "climits-nowhere"])


def test_without_a_terminal_it_says_so(capfd):
    with pytest.raises(UnsupportedError, match="top needs a terminal") as caught:
        main.dispatch(["top"])
    assert main.status_of(caught.value) == 125 and "climits stats" in caught.value.hint


class Terminal:
    """`climits top` in a terminal of its own."""

    def __init__(self, climits, *words, size=(80, 24), **env):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update({"TERM": "xterm-256color"} | env)
            os.execv(climits, [climits, *words])
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.seen = ""

    def read(self, condition):
        """Read on until what was drawn so far fulfils it, or the program ends."""
        deadline = time.monotonic() + 60 * PATIENCE
        while not condition(self.seen):
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    data = os.read(self.fd, 1 << 16)
                except OSError:
                    return
                self.seen += data.decode(errors="replace")

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def end(self):
        self.read(lambda seen: False)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)


@pytest.fixture
def climits():
    return os.path.join(os.path.dirname(sys.executable), "climits")


def test_in_a_real_terminal(climits, group):
    with Terminal(climits, "top", "/climits") as terminal:
        terminal.read(lambda seen: "climits-top" in seen and "q" in seen)
        terminal.press("t")
        terminal.read(lambda seen: "flat" in seen)
        terminal.press("\r")
        terminal.read(lambda seen: "in use" in seen and "memory.stat" in seen)
        terminal.press("q")
        assert terminal.end() == 0
    assert "\x1b[?1049l" in terminal.seen  # the screen is as it was before


def test_ctrl_c_ends_it(climits, group):
    with Terminal(climits, "top", "/climits") as terminal:
        terminal.read(lambda seen: "climits-top" in seen)
        terminal.press("\x03")
        assert terminal.end() == 0


def test_ctrl_z_stops_it_and_all_is_drawn_again_when_it_goes_on(climits, group):
    with Terminal(climits, "top", "/climits", "--interval", "1h") as terminal:
        terminal.read(lambda seen: "climits-top" in seen)
        terminal.press("\x1a")
        assert os.WIFSTOPPED(os.waitpid(terminal.pid, os.WUNTRACED)[1])
        terminal.seen = ""
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.read(lambda seen: "USAGE" in seen and "climits-top" in seen and "g" in seen)
        terminal.press("q")
        assert terminal.end() == 0


@pytest.mark.parametrize(("trap", "status"), [("", -signal.SIGHUP), ("trap '' HUP; ", 129)])
def test_it_ends_with_its_terminal(climits, group, trap, status):
    words = ("-c", f'{trap}exec "$0" top /climits', climits)
    with Terminal("/bin/sh", *words) as terminal:
        terminal.read(lambda seen: "climits-top" in seen)
        os.close(terminal.fd)
        terminal.fd = os.open(os.devnull, os.O_RDONLY)
        assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == status


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "vt100"}], ids=["NO_COLOR", "vt100"])
def test_a_terminal_without_colours_gets_none(climits, group, env):
    with Terminal(climits, "top", "/climits", **env) as terminal:
        terminal.read(lambda seen: "climits-top" in seen and "page cache" in seen)
        terminal.press("q")
        assert terminal.end() == 0
    parts = [p for seq in re.findall(r"\x1b\[([0-9;]*)m", terminal.seen) for p in seq.split(";")]
    numbers = {int(part) for part in parts if part}
    assert 7 in numbers  # reverse
    assert not numbers & {*range(30, 39), *range(40, 49), *range(90, 98), *range(100, 108)}


def test_a_terminal_that_cannot_move_its_cursor_is_refused(climits):
    with Terminal(climits, "top", TERM="dumb") as terminal:
        assert terminal.end() == 125
    (line,) = terminal.seen.strip().splitlines()
    assert line.startswith("climits: top needs a terminal that can move its cursor: TERM is dumb")


def test_without_textual_it_says_what_to_install(tmp_path):
    (tmp_path / "textual").mkdir()
    (tmp_path / "textual/__init__.py").write_text("raise ImportError('not here')")
    with Terminal(
        sys.executable, "-c", "from climits.cli.main import main; main()", "top",
        PYTHONPATH=str(tmp_path),
    ) as terminal:  # fmt: skip
        assert terminal.end() == 125
    assert terminal.seen.strip() == (
        "climits: textual is not installed; hint: pip install 'climits[top]'"
    )
