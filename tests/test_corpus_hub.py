"""A corpus of the Hub whose network goes in the middle: one line, nothing half, and again."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

ROWS = [{"text": f"The {n}. bus was late again.", "label": "anger"} for n in range(4000)]
FILE = "train.jsonl"
CONTENT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
SHA, ETAG = "a" * 40, "b" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's protocol as a dataset of one file needs."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_POST(self):
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.tell([ENTRY] if FILE in asked else [])

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path.startswith("/api/datasets/someone/posts/tree/"):
            self.tell([ENTRY])
        elif path.startswith("/api/datasets/someone/posts"):
            told = {"id": "someone/posts", "sha": SHA, "siblings": [{"rfilename": FILE}]}
            self.tell({**told, "private": False, "gated": False, "disabled": False, "tags": []})
        elif path.startswith("/datasets/someone/posts/resolve/") and path.endswith(FILE):
            self.send(CONTENT, {"ETag": f'"{ETAG}"', "X-Repo-Commit": SHA})
        else:
            self.send(b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA}, 404)

    def tell(self, value):
        self.send(json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, body, headers, status=200):
        start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
        self.send_response(206 if start else status)
        for name, value in {**headers, "Content-Length": len(body) - start}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.broken and body is CONTENT:
            self.wfile.write(body[start : start + 10_000])
            self.server.breaks += 1
            self.close_connection = True
        else:
            self.wfile.write(body[start:])

    def log_message(self, *_):
        pass


ENTRY = {"type": "file", "path": FILE, "size": len(CONTENT), "oid": ETAG}


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.broken, server.breaks = True, 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


READ = """
import sys
from probekit.corpus import Corpus, Filters
from probekit.errors import UserError
try:
    kept = list(Corpus("hf://datasets/someone/posts/train", filters=Filters(repeats="exact")))
    print(len(kept), kept[-1])
except UserError as error:
    sys.exit(f"error: {error}")
"""


def test_a_network_that_goes_in_the_middle_of_a_dataset(hub, tmp_path):
    cache = tmp_path / "cache"
    environment = {
        **{name: value for name, value in os.environ.items() if "_proxy" not in name.lower()},
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PROBEKIT_CACHE": str(cache),
    }

    def read():
        command = [sys.executable, "-c", READ]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, cwd=tmp_path
        )

    failed = read()
    assert hub.breaks, failed.stderr
    assert failed.returncode == 1, failed.stdout
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("error: cannot fetch hf://datasets/someone/posts/train"), failed.stderr
    assert "network" in last
    assert "Traceback" not in failed.stderr
    assert not list(cache.rglob("*.arrow")), "nothing half is kept"
    hub.broken = False
    again = read()
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("4000 Item(id='4000', text='The 3999. bus"), again.stdout
