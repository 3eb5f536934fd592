"""What the documentation site needs beyond mkdocs: files of the repository, and the command pages.

The pages of docs/ link to other files of the repository as they do on a git host: ``../README.md``,
``../contrib``.  The site holds those files too, each that is linked to and no other:

- CHANGELOG, CONTRIBUTING, SECURITY and LICENSE are pages of the site;
- another Markdown file is a page below repository/, with its own links followed;
- any other file is a page that shows it, with the file itself beside it to take;
- a folder is its README, and a list of its files.

A link to what is not there stays as it is, and mkdocs, which is strict, refuses it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from markdown import Markdown
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
#: Files of the repository that the navigation names.
PAGES = {"CHANGELOG.md": "CHANGELOG.md", "CONTRIBUTING.md": "CONTRIBUTING.md",
         "SECURITY.md": "SECURITY.md", "LICENSE": "LICENSE.md"}  # fmt: skip
#: Where the others are.
FOLDER = "repository"
#: Their tables need the room of the list of their sections.
_WIDE = ("reference/files.md", "reference/doctor.md")
#: In no list: what is made, and not of the repository.
_MADE = re.compile(r"(^|/)(__pycache__|\.[^/]*|build|dist|site|[^/]*\.egg-info)(/|$)|\.(pyc|so)$")
_LINK = re.compile(
    r"""\]\(\s*<?([^)\s>]+)|^\s*\[[^\]]+\]:\s*(\S+)|\b(?:href|src)="([^"]+)\"""", re.M
)
_LANGUAGES = {".py": "python", ".sh": "sh", ".toml": "toml", ".yml": "yaml", ".yaml": "yaml",
              ".json": "json", ".c": "c", ".service": "ini", ".cfg": "ini"}  # fmt: skip


# -- where things are ------------------------------------------------------------------------------


def in_repository(src_uri: str) -> str:
    """Path of a page of the site within the repository."""
    for path, uri in PAGES.items():
        if uri == src_uri:
            return path
    if src_uri.startswith(f"{FOLDER}/"):
        return src_uri.removeprefix(f"{FOLDER}/")
    return f"docs/{src_uri}"


def in_site(path: str) -> str:
    """Page, or file, of the site that shows a path of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path == "docs" or path.startswith("docs/"):
        inside = path[5:]
        return posixpath.join(inside, "index.md") if (ROOT / path).is_dir() else inside
    if (ROOT / path).is_dir():
        name = "README.md" if (ROOT / path / "README.md").exists() else "index.md"
        return posixpath.join(FOLDER, path, name)
    return posixpath.join(FOLDER, path if path.endswith(".md") else f"{path}.md")


def target(page: str, link: str) -> tuple[str, str] | None:
    """(Path in the repository, anchor with its #) that a link of a page leads to.

    None: it is no relative link, or leads to nothing.
    """
    split = urlsplit(link)
    if split.scheme or split.netloc or not split.path or split.path.startswith("/"):
        return None
    folder = posixpath.dirname(in_repository(page))
    path = posixpath.normpath(posixpath.join(folder, unquote(split.path)))
    if path == "." or path.startswith("..") or not (ROOT / path).exists():
        return None
    return path, f"#{split.fragment}" if split.fragment else ""


def moved(page: str, link: str) -> str:
    """The link as it has to be on the site."""
    found = target(page, link)
    if found is None:
        return link
    path, anchor = found
    return quote(posixpath.relpath(in_site(path), posixpath.dirname(page) or ".")) + anchor


# -- the files that are brought in -----------------------------------------------------------------


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the pages link to, what that links to, and so on."""
    for path, uri in PAGES.items():
        if path.endswith(".md"):
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
        else:
            text = (ROOT / path).read_text(encoding="utf-8")
            files.append(File.generated(config, uri, content=f"# License\n\n{_code(text, 'text')}"))
    todo = [file.src_uri for file in files.documentation_pages()]
    while todo:
        page = todo.pop()
        for link in _LINK.findall(files.src_uris[page].content_string):
            found = target(page, "".join(link))
            if found is None or files.get_file_from_path(in_site(found[0])):
                continue
            todo += _bring(found[0], files, config)
    return files


def _bring(path: str, files: Files, config: MkDocsConfig) -> list[str]:
    """Add a file or folder; the pages that it made."""
    uri, place = in_site(path), ROOT / path
    if path.startswith("docs"):
        return []  # mkdocs has it, or will say that it has not
    if place.is_dir():
        return [_add(uri, _list_folder(path, files, config), files, config)]
    if path.endswith(".md"):
        return [_add(uri, place.read_text(encoding="utf-8"), files, config)]
    _add_file(path, files, config)
    name = posixpath.basename(path)
    try:
        text = _code(place.read_text(encoding="utf-8"), _LANGUAGES.get(place.suffix, "text"))
    except UnicodeDecodeError:
        text = ""
    told = f"# {name}\n\n`{path}`: {_itself(name, 'the file itself')}.\n\n{text}"
    return [_add(uri, told, files, config)]


def _list_folder(path: str, files: Files, config: MkDocsConfig) -> str:
    readme = ROOT / path / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else f"# {path}\n"
    rows = []
    for place in sorted((ROOT / path).rglob("*")):
        name = place.relative_to(ROOT / path).as_posix()
        if place.is_file() and place != readme and not _MADE.search(name):
            _add_file(f"{path}/{name}", files, config)
            rows.append(f"- {_itself(name, name)}\n")
    return f"{text}\n## Files of this folder\n\n{''.join(rows)}"


def _add(uri: str, text: str, files: Files, config: MkDocsConfig) -> str:
    files.append(File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    return uri


def _add_file(path: str, files: Files, config: MkDocsConfig) -> None:
    uri = f"{FOLDER}/{path}"
    if not files.get_file_from_path(uri):
        files.append(
            File.generated(
                config, uri, abs_src_path=str(ROOT / path), inclusion=InclusionLevel.INCLUDED
            )
        )


def _itself(name: str, text: str) -> str:
    """A link to a file, and not to the page that shows it: in quotes that _LINK does not know."""
    return f"<a href='{quote(name)}'>{text}</a>"


def _code(text: str, language: str) -> str:
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"


# -- the links of a page ---------------------------------------------------------------------------


class _Links(Treeprocessor):
    """Turns links to the repository into links of the site, before mkdocs looks at them."""

    page = ""

    def run(self, root: Element) -> None:
        for element in root.iter():
            name = {"a": "href", "img": "src"}.get(element.tag)
            if name and (link := element.get(name)):
                element.set(name, moved(_Links.page, link))


class _LinksExtension(Extension):
    # The name is that of its base class.
    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(_Links(md), "repository-links", 5)


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Remember whose links come next."""
    _Links.page = page.file.src_uri
    if page.file.src_uri in _WIDE:
        page.meta["hide"] = ["toc"]
    return markdown


# -- the navigation --------------------------------------------------------------------------------


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each command below that of all, by their groups."""
    config.markdown_extensions.append(_LinksExtension())  # type: ignore[arg-type]
    logging.getLogger("mkdocs.plugins.griffe").addFilter(_is_of_ours)
    overview = Path(config.docs_dir, "reference/commands.md").read_text(encoding="utf-8")
    groups: list[dict[str, list[dict[str, str]]]] = []
    for part in overview.split("\n## ")[1:]:
        title = part.partition("\n")[0]
        names = re.findall(r"\]\(commands/([a-z]+)\.md\)", part)
        groups.append({title: [{name: f"reference/commands/{name}.md"} for name in names]})
    _fill(config.nav or [], "reference/commands.md", groups)
    return config


def _is_of_ours(record: logging.LogRecord) -> bool:
    """Not what griffe says where one name is a function in one branch and imported in the other."""
    return "climits.linux.xattrs.listxattr" not in record.getMessage()


def _fill(nav: list[object], page: str, more: list[object]) -> None:
    for item in list(nav):
        for value in item.values() if isinstance(item, dict) else ():
            if value == page:
                nav.extend(more)
            elif isinstance(value, list):
                _fill(value, page, more)
