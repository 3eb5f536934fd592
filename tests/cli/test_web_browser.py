"""The status page as a person has it: in a real browser, of a real supervisor."""

import json
import shutil
import sysconfig
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import IN_VM, PATIENCE, our_cgroups, until
from web_page import Page

pytest.importorskip("starlette", reason="needs starlette")
pytest.importorskip("uvicorn", reason="needs uvicorn")
webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
Keys = pytest.importorskip("selenium.webdriver.common.keys", reason="needs selenium").Keys
errors = pytest.importorskip("selenium.common.exceptions", reason="needs selenium")
pytestmark = pytest.mark.skipif(IN_VM, reason="the VM is too slow for a browser")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip

CONFIG = """\
[defaults]
memory = "40M"
[program.web]
command = "sleep 1000"
[program.db]
command = "sleep 1000"
"""


class Browser:
    """A Chromium of its own."""

    def __init__(self, profile):
        binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
        if not (binary and driver):
            pytest.skip("needs chromium and chromium-driver")
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = webdriver.ChromeService(driver)
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_page_load_timeout(60 * PATIENCE)

    def open(self, url):
        self.driver.get("about:blank")
        self.driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        self.driver.get(url)

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def text(self, selector):
        return self.one(selector).text

    def wait(self, condition):
        def holds():
            try:
                return condition()
            except errors.StaleElementReferenceException:
                return False

        try:
            until(holds)
        except AssertionError:
            raise AssertionError(f"the page did not get there: {self.text('body')}") from None

    def wait_until_live(self):
        self.wait(lambda: self.text("#link") == "Live")

    def wait_until_unlocked(self):
        self.wait(lambda: self.all("[data-does]"))

    def row(self, name, selector=""):
        return self.one(f'tr[data-name="{name}"] {selector}')

    def press(self, *keys):
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def focused(self):
        """What has the focus, as a screen reader would call it."""
        element = self.driver.switch_to.active_element
        return element.accessible_name

    def complaints(self):
        """Errors and broken rules that the console shows."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def hosts(self):
        """Hosts that were asked for anything."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.add(urlsplit(message["params"]["request"]["url"]).hostname)
        return found - {None}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.driver.quit()


@pytest.fixture
def browser(chromium):
    """Watched: no test may end with a word on the console that it does not expect."""
    driver = chromium.driver
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.complaints(), chromium.hosts()
    chromium.expected = 0
    yield chromium
    complaints = chromium.complaints()
    assert len(complaints) == chromium.expected, complaints
    assert chromium.hosts() <= {"127.0.0.1"}
    driver.get("about:blank")
    driver.delete_all_cookies()


@pytest.fixture(autouse=True)
def nothing_is_left(request):
    """Instead of the one for all: the browser is a child that stays."""
    before = set(our_cgroups())
    yield
    left = set(our_cgroups()) - before
    assert not [path for path in left if Path(path).name in ("web", "db", "new", "leak")]


@pytest.fixture
def start(climits, tmp_path):
    pages = []

    def begin(config=CONFIG, **options):
        file = tmp_path / "climits.toml"
        file.write_text(config)
        pages.append(Page(climits, tmp_path, "-c", str(file), **options))
        return pages[-1]

    yield begin
    for page in pages:
        page.__exit__()


@pytest.fixture
def unlocked(start, browser):
    """A page, opened by the address that was printed."""
    page = start()
    browser.open(page.url)
    browser.wait_until_live()
    browser.wait_until_unlocked()
    return page


# ---- reading -------------------------------------------------------------------------------


def test_it_shows_what_runs(start, browser):
    page = start()
    browser.open(page.url.partition("#")[0])
    browser.wait_until_live()
    assert browser.driver.title.startswith("climits on ")
    assert browser.row("web", ".state").text == "running"
    browser.wait(lambda: "of 40.0M" in browser.row("web", ".memory").text)
    assert browser.text("#summary") == "2 programs: 2 running"
    assert "started pid" in browser.text("#log")
    assert not browser.all("[data-does]")


def test_an_oom_kill_and_its_restart_are_seen_without_loading_again(start, browser, hog, tmp_path):
    go = tmp_path / "go"
    script = f"[ -e {go} ] && exec {hog} hold 1000000; until [ -e {go} ]; do sleep 0.05; done; "
    page = start(
        f'[program.leak]\nmemory = "30M"\ncommand = ["sh", "-c", "{script}{hog} alloc 60"]\n'
    )
    browser.open(page.url)
    browser.wait_until_live()
    assert browser.row("leak", ".oom").text == "0"
    browser.driver.execute_script("window.unchanged = true")
    go.touch()
    browser.wait(lambda: browser.row("leak", ".oom").text == "1")
    browser.wait(lambda: browser.row("leak", ".state").text == "running")
    browser.wait(lambda: browser.row("leak", ".restarts").text == "1")
    events = [item.text for item in browser.all("#log li")]
    assert any("oom-killed: pid" in text and "of 30.0M" in text for text in events)
    assert "started pid" in events[0]
    assert "1 OOM kill" in browser.text("#summary")
    assert "leak: oom-killed" in browser.one("#news").get_property("textContent")
    assert browser.driver.execute_script("return window.unchanged")


def test_programs_come_and_go(start, browser, tmp_path):
    page = start()
    browser.open(page.url)
    browser.wait_until_live()
    (tmp_path / "climits.toml").write_text(CONFIG.replace("[program.db]", "[program.new]"))
    page.supervised.ctl("reload")
    browser.wait(lambda: [e.text for e in browser.all("#rows .name")] == ["web", "new"])


def test_the_filter_leaves_what_has_the_words(start, browser):
    page = start()
    browser.open(page.url)
    browser.wait_until_live()
    browser.one("#filter input").send_keys("DB run")
    assert [e.text for e in browser.all("#rows .name") if e.is_displayed()] == ["db"]
    browser.one("#filter input").send_keys("x")
    assert browser.one("#none").is_displayed()


def test_without_javascript_it_can_be_read(start, browser):
    page = start()
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(page.url)
    assert browser.row("web", ".state").text == "running"
    assert "started pid" in browser.text("#log")
    assert "This is how it was" in browser.text("noscript")
    assert not browser.one("#unlock").is_displayed()
    page.supervised.ctl("stop", "db")
    page.supervised.wait_for("stopped")

    def loaded_again():  # the page may still be a step behind the events
        browser.one("noscript a").click()
        return browser.row("db", ".state").text == "stopped"

    browser.wait(loaded_again)


def test_the_end_of_the_supervisor_is_told(unlocked, browser):
    assert unlocked.supervised.end() == 0
    browser.wait(lambda: browser.text("#link") == "The supervisor has ended")
    assert browser.row("web", ".name").text == "web"
    browser.driver.get("about:blank")  # before it asks in vain


def test_another_supervisor_is_followed_and_the_old_token_forgotten(unlocked, browser, start):
    unlocked.supervised.end()
    browser.wait(lambda: browser.text("#link") == "The supervisor has ended")
    start(CONFIG.replace("[program.db]", "[program.new]"), address=f"127.0.0.1:{unlocked.port}")
    again = "document.dispatchEvent(new Event('visibilitychange'))"
    browser.driver.execute_script(again)
    browser.wait(lambda: browser.text("#unlock") == "Unlock actions")
    browser.wait_until_live()
    assert [e.text for e in browser.all("#rows .name")] == ["web", "new"]
    assert not browser.all("[data-does]")
    browser.expected = 1  # the browser itself notes the 401


# ---- the token -----------------------------------------------------------------------------


def test_the_token_leaves_the_address_and_stays_in_the_tab(unlocked, browser):
    assert browser.driver.current_url == f"http://127.0.0.1:{unlocked.port}/"
    assert unlocked.token not in browser.driver.page_source
    browser.driver.refresh()
    browser.wait_until_unlocked()
    browser.one("#unlock").click()
    browser.wait(lambda: not browser.all("[data-does]"))
    browser.driver.refresh()
    browser.wait_until_live()
    assert not browser.all("[data-does]")


def test_a_wrong_token_is_refused_in_the_dialog(start, browser):
    page = start()
    browser.open(page.url.partition("#")[0])
    browser.wait_until_live()
    browser.one("#unlock").click()
    assert browser.focused() == "Token"
    browser.press("wrong" + Keys.ENTER)
    browser.wait(
        lambda: (
            browser.text("#ask-error")
            == "this is not the token; hint: it is printed when climits supervise starts"
        )
    )
    assert not browser.all("[data-does]")
    browser.expected = 1  # the browser itself notes the 401
    field = browser.one("#ask-value")
    field.clear()
    field.send_keys(page.token + Keys.ENTER)
    browser.wait_until_unlocked()
    assert not browser.one("#ask").is_displayed()


def test_a_wrong_token_in_the_address_is_refused_too(start, browser):
    page = start()
    browser.open(page.url + "x")
    browser.wait(lambda: "this is not the token" in browser.text("#notice"))
    browser.wait_until_live()
    assert not browser.all("[data-does]")
    browser.expected = 1


def test_from_elsewhere_the_token_opens_reading_too(start, browser):
    page = start(address="0.0.0.0:0")
    where = f"http://127.0.0.1:{page.port}/"
    browser.open(where)
    browser.wait(lambda: browser.text("#link") == "the token is needed")
    assert not browser.all("tbody tr")
    browser.expected = 1
    browser.open(f"{where}#token={page.token}")
    browser.wait_until_live()
    assert browser.row("web", ".state").text == "running"


def test_from_elsewhere_without_javascript_one_logs_in(start, browser):
    page = start(address="0.0.0.0:0")
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(f"http://127.0.0.1:{page.port}/")
    assert "Reading needs the token here." in browser.text("noscript")
    browser.open(f"http://me:{page.token}@127.0.0.1:{page.port}/login")
    assert browser.row("web", ".state").text == "running"


# ---- acting --------------------------------------------------------------------------------


def test_a_program_is_restarted_by_its_button(unlocked, browser):
    old = unlocked.supervised.wait_for("started", program="web")["pid"]
    browser.row("web", "[data-does=Restart]").click()
    assert browser.text("#ask-title") == "Restart web?"
    browser.one("#ask-yes").click()
    assert unlocked.supervised.wait_for("started", 2, program="web")["pid"] != old
    browser.wait(lambda: "web: asked to restart" in browser.text("#notice"))
    browser.wait(lambda: "stopped (SIGTERM)" in browser.text("#log"))


def test_a_program_is_stopped_and_started(unlocked, browser):
    browser.row("db", "[data-does=Stop]").click()
    browser.one("#ask-no").click()
    browser.row("db", "[data-does=Stop]").click()
    browser.one("#ask-yes").click()
    browser.wait(lambda: browser.row("db", ".state").text == "stopped")
    browser.row("db", "[data-does=Start]").click()
    browser.wait(lambda: browser.row("db", ".state").text == "running")
    assert len(unlocked.supervised.events("stopping")) == 1


def test_a_bad_size_is_told_where_it_was_typed(unlocked, browser):
    browser.row("web", "[data-does=Limit]").click()
    field = browser.one("#ask-value")
    assert (browser.focused(), field.get_property("value")) == ("New limit", "40.0M")
    field.clear()
    field.send_keys("60MB" + Keys.ENTER)
    browser.wait(lambda: browser.text("#ask-error"))
    told = unlocked.supervised.ctl("set-limit", "web", "60MB", check=False).stderr
    assert f"climits: {browser.text('#ask-error')}\n" == told
    assert field.get_attribute("aria-invalid") == "true"
    browser.expected = 1  # the browser itself notes the 409
    field.clear()
    field.send_keys("50M" + Keys.ENTER)
    browser.wait(lambda: "of 50.0M" in browser.row("web", ".memory").text)
    assert not browser.one("#ask").is_displayed()


def test_all_of_it_can_be_done_with_the_keyboard(unlocked, browser):
    browser.one("body").send_keys(Keys.TAB)
    seen = []
    for _ in range(9):
        seen.append(browser.focused())
        browser.press(Keys.TAB)
    assert seen == [
        "Skip to the programs", "Lock actions", "Events", "Filter",
        "Restart web", "Stop web", "Set the limit of web", "Restart db", "Stop db",
    ]  # fmt: skip
    browser.one("body").send_keys(Keys.HOME)
    browser.driver.execute_script("document.querySelector('[data-does=Restart]').focus()")
    browser.press(Keys.ENTER)
    assert browser.focused() == "Cancel"
    browser.press(Keys.ESCAPE)
    assert browser.focused() == "Restart web"
    browser.press(Keys.ENTER)
    browser.press(Keys.TAB)
    assert browser.focused() == "Restart"
    browser.press(Keys.ENTER)
    unlocked.supervised.wait_for("started", 2, program="web")
    browser.wait(lambda: browser.focused() == "Restart web")


# ---- for everybody -------------------------------------------------------------------------


def nodes(browser):
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if not node["ignored"]
    ]


@pytest.mark.parametrize("width", [1280, 360])
def test_a_screen_reader_finds_a_table_with_names(unlocked, browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    found = nodes(browser)
    assert ("table", "Programs") in found
    headers = [name for role, name in found if role == "columnheader"]
    assert headers == [
        "Program", "State", "Memory", "Peak", "OOM kills", "Restarts", "Up", "Actions",
    ]  # fmt: skip
    assert [name for role, name in found if role == "rowheader"] == ["web", "db"]
    assert ("meter", "memory of web") in found
    assert ("button", "Set the limit of db") in found
    assert ("log", "") in found
    assert {name for role, name in found if role == "heading"} >= {"Programs", "Recent events"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing(unlocked, browser, scheme, width):
    script = Path(sysconfig.get_path("purelib"), "axe_playwright_python", "axe.min.js")
    if not script.exists():
        pytest.skip("needs axe-playwright-python, for its axe.min.js")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.row("web", "[data-does=Restart]").click()
    browser.one("#ask-yes").click()
    browser.wait(lambda: "restarting" in browser.text("#log") or browser.all("#log li")[3:])
    browser.driver.execute_script(script.read_text())
    for opens in (None, "[data-does=Limit]"):
        if opens:
            browser.row("web", opens).click()
        found = browser.driver.execute_async_script("axe.run().then(arguments[0])")
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found["violations"]] == []
        assert len(found["passes"]) > 10


@pytest.mark.parametrize("width", [360, 800, 1280, 1800])
def test_nothing_sticks_out(unlocked, browser, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = "return [document.documentElement.scrollWidth, innerWidth]"
    assert browser.driver.execute_script(wide) == [width, width]


def test_no_text_becomes_markup_or_code(unlocked, browser):
    script = "try { document.body.innerHTML = '<b>x</b>' } catch (e) { return e.name }"
    assert browser.driver.execute_script(script) == "TypeError"
    browser.expected = 1  # the browser tells of the broken rule
    image = "const i = new Image(); i.src = 'http://192.0.2.1/x.png'"
    browser.driver.execute_script(image)
    browser.wait(lambda: True)
    complaints = browser.complaints()
    assert all("Content Security Policy" in text or "Trusted" in text for text in complaints)
    assert len(complaints) == 2
    browser.expected = 0
    browser.hosts()
