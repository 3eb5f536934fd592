"""What a run of the pages tells at its end: how many commands were run, and which were not."""

import pytest

TOLD = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[TOLD] = []


@pytest.fixture
def told(request):
    """tell(page, commands run, [(line, text, reason) of those that were not])"""
    return lambda *what: request.config.stash[TOLD].append(what)


def pytest_terminal_summary(terminalreporter, config):
    pages = sorted(config.stash[TOLD])
    if not pages:
        return
    run, left = sum(page[1] for page in pages), [(p[0], *one) for p in pages for one in p[2]]
    terminalreporter.section("the pages")
    terminalreporter.line(f"{len(pages)} pages: {run} commands run, {len(left)} not run")
    for page, line, text, reason in left:
        terminalreporter.line(f"{page}:{line}: {text.splitlines()[0][:60]}: {reason}")
