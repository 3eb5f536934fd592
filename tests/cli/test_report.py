"""`climits report`: pages and pictures of recordings."""

import html
import json
import os
import re
import subprocess
import xml.dom.minidom
from html.parser import HTMLParser

import pytest
from support import PATIENCE

from climits.cli.main import dispatch
from climits.errors import ClimitsError, InvalidValueError
from climits.observe.text import printable

pytest.importorskip("matplotlib", reason="needs matplotlib")
M = 1 << 20


@pytest.fixture
def recording(tmp_path):
    def make(file="app.jsonl", samples=50, *, end=True, sizes=True, name="app"):
        lines = [{"climits": "recording", "schema": 1, "time": 1.7e9, "command": ["app", "<b>"]},
                 {"t": 0, "e": "started", "name": name, "cgroup": "/climits/app"}]  # fmt: skip
        for n in range(samples):
            kinds = {"a": n * 1000, "f": 500, "s": 7, "k": 9} if sizes else {}
            lines.append({"t": n / 10, "c": n * 1000 + 600, "m": 100 * M, "u": n / 100, **kinds})
        if end:
            result = {"command": ["app"], "verdict": "oom-killed", "signal": 9, "exit_status": 137,
                      "returncode": -9, "oom_kill": 1, "memory_max": 100 * M}  # fmt: skip
            lines += [{"t": samples / 10, "e": "oom-kill", "count": 1},
                      {"t": samples / 10, "e": "oom-killed", "result": result},
                      {"t": samples / 10, "e": "end"}]  # fmt: skip
        path = tmp_path / file
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    return make


class Page(HTMLParser):
    VOID = ("meta", "path", "use", "br", "rect", "image")

    def __init__(self, text):
        super().__init__()
        self.stack, self.seen, self.text = [], [], ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_page_stands_alone(recording, tmp_path, capsys):
    path = recording()
    assert dispatch(["report", path]) == 0
    assert f"written: {tmp_path}/app.html" in capsys.readouterr().out
    text = (tmp_path / "app.html").read_text()
    page = Page(text)
    assert page.stack == []
    tags = {tag for tag, _ in page.seen}
    assert "svg" in tags and not tags & {"script", "link", "iframe", "img"}
    links = [v for _, a in page.seen for k, v in a.items() if k.endswith(("href", "src"))]
    assert all(link.startswith("#") for link in links) and "@import" not in text
    assert "prefers-color-scheme: dark" in text and "var(--ink)" in text
    assert not re.search("#010203|#fdfefc|#020304", text)
    assert "<b>" not in text and "&lt;b&gt;" in text
    (label,) = (a["aria-label"] for tag, a in page.seen if tag == "svg")
    assert "oom-killed" in label
    for word in ("Verdict and evidence", "oom-killed", "limit 100.0M", "OOM kill"):
        assert word in page.text


def test_the_names_in_a_page_are_its_own(recording, tmp_path):
    paths = [recording(f"r{n}.jsonl") for n in range(3)]
    assert dispatch(["report", *paths, "-o", str(tmp_path / "all.html")]) == 0
    page = Page((tmp_path / "all.html").read_text())
    names = [a["id"] for _, a in page.seen if "id" in a]
    assert len(names) == len(set(names))
    used = re.findall(r"url\(#([^)]+)\)|href=\"#([^\"]+)\"", (tmp_path / "all.html").read_text())
    assert {a or b for a, b in used} <= set(names)
    assert "3 runs compared" in page.text
    assert sum(tag == "svg" for tag, _ in page.seen) == 4


@pytest.mark.parametrize("form", ["png", "svg", "html"])
@pytest.mark.parametrize("samples", [0, 1, 2, 50])
def test_forms_and_sizes(recording, tmp_path, form, samples):
    out = tmp_path / f"x.{form}"
    assert dispatch(["report", recording(samples=samples), "-o", str(out)]) == 0
    start = {"png": b"\x89PNG", "svg": b"<?xml", "html": b"<!doctype"}[form]
    assert out.read_bytes().startswith(start)


def test_a_hundred_thousand_samples(recording, tmp_path):
    out = tmp_path / "x.html"
    assert dispatch(["report", recording(samples=100_000), "-o", str(out)]) == 0
    assert out.stat().st_size < 2 * M


def test_thinning_keeps_the_extremes():
    import numpy as np

    from climits.observe.recordings.series import _extremes

    values = np.full(100_000, 5.0)
    values[77_777], values[33_333], values[50_000] = 9.0, 1.0, np.nan
    chosen = _extremes(values)
    assert {77_777, 33_333, 50_000, 0, 99_999} <= set(chosen.tolist()) and chosen.size < 8000


def test_recordings_without_kinds_and_without_an_end(recording, tmp_path, capfd):
    out = tmp_path / "x.html"
    assert dispatch(["report", recording(sizes=False, end=False), "-o", str(out)]) == 0
    assert "it has no end" in capfd.readouterr().err
    assert "in use" in Page(out.read_text()).text and "it has no end" in out.read_text()


@pytest.mark.parametrize("name", ["x.pdf", "x", ".html/", "html"])
def test_a_form_that_there_is_not(recording, tmp_path, name):
    with pytest.raises(InvalidValueError, match="output: "):
        dispatch(["report", recording(), "-o", f"{tmp_path}/{name}"])


def test_a_report_does_not_replace_its_recording(recording):
    path = recording("app.html")
    with pytest.raises(InvalidValueError, match="that is the recording"):
        dispatch(["report", path])


def test_a_report_that_cannot_be_written(recording, tmp_path):
    with pytest.raises(ClimitsError, match="cannot write the report"):
        dispatch(["report", recording(), "-o", str(tmp_path / "no" / "x.html")])


def test_a_link_in_the_way_is_not_written_through(recording, tmp_path):
    path = recording()
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out").mkdir()
    for name in (f"x.html.{os.getpid()}.new", f".x.html.{os.getpid()}.new", "x.html"):
        (tmp_path / "out" / name).symlink_to(victim)
    assert dispatch(["report", path, "-o", str(tmp_path / "out" / "x.html")]) == 0
    assert victim.read_text() == "precious"
    out = tmp_path / "out" / "x.html"
    assert out.read_bytes().startswith(b"<!doctype") and not out.is_symlink()


def test_a_report_that_fails_leaves_nothing(recording, tmp_path, monkeypatch):
    path = recording()
    (tmp_path / "x.html").write_text("before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClimitsError, match="no space left"):
        dispatch(["report", path, "-o", str(tmp_path / "x.html")])
    assert sorted(os.listdir(tmp_path)) == ["app.jsonl", "x.html"]
    assert (tmp_path / "x.html").read_text() == "before"


def test_a_report_is_as_the_umask_says(recording, tmp_path):
    path = recording()
    old = os.umask(0o027)
    try:
        dispatch(["report", path, "-o", str(tmp_path / "x.html")])
    finally:
        os.umask(old)
    assert (tmp_path / "x.html").stat().st_mode & 0o777 == 0o640


ODD = ["$\\frac{$", "a\x00b\x1b[2J\x08", "_hidden", "two\nlines", "\ud800"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("form", ["svg", "html"])
def test_odd_names(recording, tmp_path, capfd, name, count, form):
    paths = [recording(f"r{n}.jsonl", 5, name=name) for n in range(count)]
    for path in paths:  # several programs of one recording
        with open(path, "a") as file:
            for line in (
                {"t": 0.5, "i": 1, "e": "started", "name": name},
                {"t": 1, "i": 1, "c": 5},
            ):
                file.write(json.dumps(line) + "\n")
    out = tmp_path / f"x.{form}"
    assert dispatch(["report", *paths, "-o", str(out)]) == 0
    told = capfd.readouterr()
    assert not set("\x1b\x00\x08") & set(told.out + told.err)
    if form == "svg":
        xml.dom.minidom.parse(str(out))
    else:
        page = Page(out.read_text())
        assert not set("\x1b\x00\x08") & set(page.text)
        labels = re.findall("<text[^>]*>([^<]*)</text>", out.read_text())
        assert any(printable(name) in html.unescape(label) for label in labels)


def test_an_output_without_a_name(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidValueError, match="output: '': cannot tell"):
        dispatch(["report", recording(), "-o", ""])
    assert os.listdir() == ["app.jsonl"]


@pytest.mark.parametrize("given", [None, "/proc/no"])
def test_a_home_that_cannot_be_written(recording, tmp_path, monkeypatch, climits, given):
    """matplotlib would leave a folder behind, and talk about it."""
    path, scratch = recording(), tmp_path / "scratch"
    scratch.mkdir()
    environment = dict(os.environ, HOME="/proc/no", TMPDIR=str(scratch))
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    if given:
        environment["MPLCONFIGDIR"] = given
    done = subprocess.run(
        [climits, "report", path], env=environment, capture_output=True, timeout=100 * PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert not os.listdir(scratch)
