"""A status page under test: a real supervisor that serves it, and requests to it."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

from supervised import Supervised
from support import PATIENCE


class Page:
    """A supervisor with a status page, and requests to it."""

    def __init__(self, climits, folder, *words, address="127.0.0.1:0"):
        self.supervised = Supervised(climits, folder, "--web", address, *words)
        told = self.supervised.wait_for("status-page")
        self.plain_url, self.token_file = told["url"], Path(told["token_file"])
        self.url = self.token_file.read_text().strip()
        parts = urlsplit(self.url)
        self.port = parts.port
        self.token = parts.fragment.removeprefix("token=")

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30 * PATIENCE)

    def ask(self, method, path, body=None, token=None, **headers):
        """(status, headers, text) of an answer."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
            body = body if isinstance(body, str) else json.dumps(body)
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            connection.close()

    def do(self, action, **fields):
        """The JSON that an action is answered with."""
        return json.loads(self.ask("POST", f"/do/{action}", fields, self.token)[2])

    def live(self, **headers):
        """The open answer, and an iterator over (kind, data)."""
        connection = self.connect()
        connection.request("GET", "/live", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 200
        return connection, _messages(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.supervised.__exit__(None, None, None)


def _messages(answer):
    kind = None
    for line in iter(answer.readline, b""):
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            yield kind, json.loads(line[6:])
