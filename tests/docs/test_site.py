"""The documentation site: built strictly, whole, asking no other host, and seen in a browser."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from support import IN_VM

import climits

pytest.importorskip("mkdocs", reason="needs mkdocs")
pytest.importorskip("material", reason="needs mkdocs-material")
pytest.importorskip("mkdocstrings", reason="needs mkdocstrings")
pytestmark = pytest.mark.skipif(IN_VM, reason="the VM is too slow to build a site")

ROOT = Path(__file__).parents[2]
#: Elements and attributes by which a page asks for something as it is opened.
ASKS = {
    ("link", "href"), ("script", "src"), ("img", "src"), ("img", "srcset"), ("source", "srcset"),
    ("source", "src"), ("iframe", "src"), ("object", "data"), ("video", "src"), ("audio", "src"),
    ("embed", "src"), ("use", "href"), ("image", "href"),
}  # fmt: skip
#: In the navigation, in this order.
SECTIONS = [
    "Home", "Tutorial", "Tour", "How-to", "Guides", "Reference", "Explanation", "Design",
    "Comparison", "Benchmarks", "Scale", "Project",
]  # fmt: skip
LOOKED_AT = [
    "index.html", "tutorial.html", "tour.html", "how-to/run-under-a-limit.html", "supervise.html",
    "reference/commands.html", "reference/commands/run.html", "reference/python/launching.html",
    "reference/files.html", "reference/json.html", "climits.toml.html",
    "explanation/born-inside.html", "design.html", "comparison.html", "benchmarks.html",
    "scale.html", "CHANGELOG.html",
]  # fmt: skip


def build(source, to):
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", to],
        cwd=source,
        # ruff, which lays out the signatures, is beside the interpreter.
        env=os.environ | {
            "NO_MKDOCS_2_WARNING": "1",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    to = tmp_path_factory.mktemp("site")
    done = build(ROOT, to)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return to


class Page(HTMLParser):
    """What a page links to, what it asks for, and the names within it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.asks, self.names = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.names |= {told[key] for key in ("id", "name") if told.get(key)}
        if tag == "a" and told.get("href") is not None:
            self.links.append(told["href"])
        canonical = tag == "link" and told.get("rel") in ("canonical", "prev", "next")
        for key, value in told.items():
            if (tag, key) in ASKS and value and not canonical:
                self.asks.append(value)


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


# ---- what was built ------------------------------------------------------------------------


def test_the_navigation_has_the_sections_and_every_page(site, pages):
    tabs = re.findall(
        r'<a [^>]*class="md-tabs__link"[^>]*>\s*(.*?)\s*</a>',
        (site / "index.html").read_text(), re.S,
    )  # fmt: skip
    assert [re.sub(r"<[^>]+>|\s+", "", tab) for tab in tabs] == SECTIONS
    named = {
        (site / "404.html").parent / unquote(urlsplit(link).path)
        for link in pages[site / "index.html"].links
        if not urlsplit(link).scheme
    }
    docs = {
        site / path.relative_to(ROOT / "docs").with_suffix(".html")
        for path in (ROOT / "docs").rglob("*.md")
    }
    assert docs - {site / "index.html"} <= {path for path in named if path.exists()}


def test_every_link_and_anchor_leads_somewhere(site, pages):
    broken = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are from the root of wherever the site will be
        for link in (*page.links, *page.asks):
            split = urlsplit(link)
            if split.scheme or split.netloc:
                continue
            to = (path.parent / unquote(split.path)).resolve() if split.path else path
            if to.is_dir():
                to /= "index.html"
            anchor = unquote(split.fragment)
            if not to.is_file() or (
                anchor and to in pages and anchor not in pages[to].names and anchor != "__tabbed"
            ):
                broken.append((path.relative_to(site).as_posix(), link))
    assert broken == []
    assert sum(len(page.links) for page in pages.values()) > 1000


def test_no_page_and_no_style_asks_another_host(site, pages):
    asked = [
        (path.relative_to(site).as_posix(), url)
        for path, page in pages.items()
        for url in page.asks
        if re.search(r"(?:^|,\s*)(?:[a-z]+:)?//", url)
    ]
    assert asked == []
    styles = [path.read_text() for path in site.rglob("*.css")]
    assert styles and not [
        url for text in styles for url in re.findall(r"url\(\s*['\"]?((?:https?:)?//[^)]+)", text)
    ]
    pictures = [path.read_text() for path in site.rglob("*.svg")]
    assert not [
        url
        for text in pictures
        for url in re.findall(
            r"(?:href|src)=[\"']((?:https?:)?//[^\"']+)|url\(\s*['\"]?https?:", text
        )
    ]


def test_files_of_the_repository_that_are_linked_to_are_there(site):
    made = site / "repository/contrib/prometheus"
    assert (made / "prometheus.yml").read_bytes() == (
        ROOT / "contrib/prometheus/prometheus.yml"
    ).read_bytes()
    assert "href='prometheus.yml'" in (made / "prometheus.yml.html").read_text()
    for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "LICENSE"):
        assert (site / f"{name}.html").exists()


def test_every_public_name_stands_in_the_reference_with_its_words(site, pages):
    names = {f"climits.{name}" for name in climits.__all__} | {
        "climits.batch.run", "climits.aio.events", "climits.supervise.Client",
        "climits.dask.Executor", "climits.cgroup.events.Events", "climits.cgroup.triggers.Trigger",
    }  # fmt: skip
    told = set()
    for path, page in pages.items():
        if path.parent == site / "reference/python":
            told |= page.names
    assert names - told == set()
    text = (site / "reference/python/launching.html").read_text()
    for words in ("seconds, or text such as", "it did not start.", "Unpack"):
        assert words in text


def test_every_option_of_python_is_told(site):
    page = (ROOT / "docs/reference/python/launching.md").read_text()
    text = page.partition("## Options")[2].partition("##")[0].partition("| --- ")[2]
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (.+?) \|", text, re.M)))
    source = (ROOT / "src/climits/program/spec.py").read_text()
    options = re.search(r"class Options\(TypedDict.*?\"\"\".*?\"\"\"(.*?)\n\n\n", source, re.S)[1]
    assert sorted(told) == sorted(re.findall(r"^ {8}(\w+): ", options, re.M))


def test_what_is_wrong_is_refused(tmp_path):
    for name in ("docs", "tools", "src", "contrib", "benchmarks", "examples"):
        if (ROOT / name).exists():
            (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "docs").unlink()
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    for path in (*ROOT.glob("*.md"), ROOT / "LICENSE", ROOT / "mkdocs.yml"):
        shutil.copy(path, tmp_path)
    page = tmp_path / "docs/top.md"
    page.write_text(
        page.read_text()
        + "\n[a](nowhere.md) [b](stats.md#nowhere) [c](../nowhere) [d](/stats.md)\n"
    )
    (tmp_path / "docs/orphan.md").write_text("# Orphan\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    for words in ("nowhere.md", "#nowhere", "../nowhere", "/stats.md", "orphan.md"):
        assert words in done.stderr


# ---- in a browser --------------------------------------------------------------------------


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("needs chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Instead of the one for all: the browser is a child that stays."""


def hosts(browser):
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            split = urlsplit(message["params"]["request"]["url"])
            found |= {split.hostname} if split.scheme in ("http", "https", "ws", "wss") else set()
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_pages_are_seen_as_they_should_be(address, browser, scheme, width):
    browser.get_log("browser"), hosts(browser)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    script = """
        const broken = [...document.images].filter(i => i.complete && !i.naturalWidth
            && i.loading !== 'lazy' && getComputedStyle(i).display !== 'none');
        return [document.documentElement.scrollWidth, broken.map(i => i.src),
                document.body.getAttribute('data-md-color-scheme'), document.title]
    """
    for page in LOOKED_AT:
        browser.get(f"{address}/{page}")
        wide, broken, colours, title = browser.execute_script(script)
        assert (page, wide, broken) == (page, width, [])
        assert colours == {"light": "default", "dark": "slate"}[scheme]
        assert title.endswith("climits")
    assert browser.get_log("browser") == []
    assert hosts(browser) == {"127.0.0.1"}


def test_a_word_is_found(address, browser):
    size = {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(f"{address}/index.html")
    browser.execute_script("document.querySelector('[data-md-toggle=search]').click()")
    browser.find_element("css selector", ".md-search__input").send_keys("oom_control")
    found = "a.md-search-result__link[href*='reference/files.html']"
    browser.implicitly_wait(20)
    try:
        assert browser.find_element("css selector", found)
    finally:
        browser.implicitly_wait(0)


def test_of_a_session_what_was_typed_is_copied(address, browser):
    browser.get(f"{address}/tutorial.html")
    assert browser.find_elements("css selector", "pre button.md-code__button")
    # The button marks the text so while it takes it.
    copied = browser.execute_script(
        "const code = document.querySelector('.language-console code');"
        "const content = code.querySelector('.md-code__content') || code;"
        "content.setAttribute('data-md-copying', '');"
        "return [content.innerText, code.textContent]"
    )
    assert "$ climits version\nclimits 0" in copied[1]
    assert copied[0].splitlines()[0] == "climits version"
    assert "\nclimits 0" not in copied[0]


def test_the_colours_can_be_chosen(address, browser):
    feature = {"name": "prefers-color-scheme", "value": "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(f"{address}/index.html")
    seen = []
    for _ in range(3):
        browser.execute_script(
            "[...document.querySelectorAll('[data-md-component=palette] label')]"
            ".find(l => !l.hidden).click()"
        )
        seen.append(browser.execute_script("return document.body.dataset.mdColorScheme"))
    browser.execute_script("localStorage.clear()")
    assert set(seen) == {"default", "slate"}
