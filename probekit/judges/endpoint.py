"""A judge behind an OpenAI-compatible chat endpoint: texts leave the machine, so only if allowed.

1. Each text is one request (temperature 0, an answer as JSON, one of the labels).
2. What may pass (429, 5xx, no connection, a timeout) is tried again, after 1, 2, 4, ... seconds or
   what the server asks for; anything else ends the run.
3. Every answer is kept on disk at once, so that a run that ended goes on where it was.
"""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

import numpy as np

from probekit import runs
from probekit.errors import UserError
from probekit.judges.judge import LABELS, NEUTRAL, Floats, Judge

KEY = "PROBEKIT_JUDGE_KEY"
"""The environment variable that holds the key; it is sent to the endpoint and written nowhere."""
PROMPT = (
    "You are given one text. Decide which one emotion it expresses, by its words alone. The "
    f"choices are: {', '.join(LABELS[:-1])}, or {NEUTRAL} if it expresses none of them. "
    'Answer with JSON only, such as {"emotion": "' + NEUTRAL + '"}.'
)
PASSING = {408, 409, 425, 429, 500, 502, 503, 504, 529}
"""Answers of a server that may be different a moment later."""
LONGEST_WAIT = 60.0
ANSWER_BYTES = 1 << 20


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry texts and key to a place that nobody allowed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class _Unreachable(Exception):
    """Why a text could not be judged."""


class EndpointJudge(Judge):
    """A chat model by URL. It gives a label and no probability: 1 for that label.

    A text whose answer is no JSON with one of the labels is missing (a NaN row), not neutral.

    Args:
        url: the endpoint's base, such as https://HOST/v1, or the whole ".../chat/completions".
        model: the name that the endpoint knows its model by.
        allow_network: must be True: every text is sent to `url`.
        per_minute: requests a minute, at most.
        tries: of each request.
        timeout: seconds for each.
        say: receives where the texts go, before the first is sent, and what was missing.
        sleep, clock: how to wait, and what for; for tests.

    Raises:
        UserError: not allowed, or a URL that is not http(s), holds a password, or would send a
            key unencrypted to another machine.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        allow_network: bool = False,
        per_minute: float = 60,
        tries: int = 6,
        timeout: float = 60,
        say: Callable[[str], object] = lambda _: None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url, self.model = _checked_url(url), model
        if not allow_network:
            raise UserError(
                f"the judge at {self.url} is sent every text: allow that (--allow-network), or "
                "take a judge that works here"
            )
        if not model or per_minute <= 0 or tries < 1:
            raise UserError("an endpoint needs a model's name, requests a minute, and one try")
        self.name = f"endpoint({model})"
        self.tries, self.timeout, self.say = tries, timeout, say
        self._pause, self._sleep, self._clock = 60 / per_minute, sleep, clock
        self._last: float | None = None
        self._told = False
        self.identity = ("endpoint", runs.digest([self.url, model, PROMPT]))
        self.notes = (f"{self.name}: what trained it is not known; it gives no probabilities",)

    def read(self, texts: Sequence[str]) -> Floats:
        found, unreadable = np.full((len(texts), len(LABELS)), np.nan), 0
        for row, text in enumerate(texts):
            label = self._kept(text)
            if label is None:
                try:
                    label = self._ask(text)
                except _Unreachable as error:
                    kept = sum(self._kept(other) is not None for other in texts)
                    raise UserError(
                        f"the judge at {self.url} {error}: {kept} of {len(texts)} texts are "
                        "judged and kept; the same command goes on from there"
                    ) from error
            if label in LABELS:
                found[row] = np.eye(len(LABELS))[LABELS.index(label)]
            else:
                unreadable += 1
        if unreadable:
            self.say(f"{unreadable} of {len(texts)} answers name none of the labels: missing")
        return found

    def _path(self, text: str) -> Path:
        key = runs.digest({"judge": self.identity, "text": text})
        return runs.cache_home() / "judges" / "endpoint" / f"{key[:32]}.json"

    def _kept(self, text: str) -> str | None:
        """The label that was answered before."""
        path = self._path(text)
        return str(runs.read_json(path)["label"]) if path.exists() else None

    def _ask(self, text: str) -> str:
        """The label of a text, "" for an answer that is none; a label is kept at once."""
        if not self._told:
            self.say(f"texts are sent to {self.url} (model {self.model}), one at a time")
            self._told = True
        label = _label(self._answer(text))
        if label:
            runs.write_json(self._path(text), {"label": label, "model": self.model})
        return label

    def _answer(self, text: str) -> bytes:
        body = {
            "model": self.model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": PROMPT},
                {"role": "user", "content": text},
            ],
            "response_format": {"type": "json_object"},
        }
        headers = {"Content-Type": "application/json", "User-Agent": "probekit"}
        if key := os.environ.get(KEY):
            headers["Authorization"] = f"Bearer {key}"
        request = Request(self.url, json.dumps(body).encode(), headers, method="POST")
        why, asked = "", 0.0
        for attempt in range(self.tries):
            if attempt:
                self._sleep(min(LONGEST_WAIT, max(2.0 ** (attempt - 1), asked)))
            why, asked, answer = self._try(request)
            if answer is not None:
                return answer
        raise _Unreachable(f"{why}, {self.tries} times in a row")

    def _try(self, request: Request) -> tuple[str, float, bytes | None]:
        """Why it failed, seconds that the server asks to wait, and the answer if there is one."""
        self._wait_for_turn()
        try:
            with build_opener(_NoRedirects).open(request, timeout=self.timeout) as response:
                return "", 0.0, response.read(ANSWER_BYTES)
        except HTTPError as error:
            if error.code not in PASSING:
                raise _Unreachable(f"refuses with HTTP {error.code} ({error.reason})") from None
            wait = error.headers.get("Retry-After", "")
            seconds = float(wait) if re.fullmatch(r"\d{1,6}(\.\d+)?", wait or "") else 0.0
            return f"answers HTTP {error.code}", seconds, None
        except (URLError, HTTPException, OSError) as error:
            reason = getattr(error, "reason", None) or error
            return f"cannot be reached ({reason})", 0.0, None

    def _wait_for_turn(self) -> None:
        now = self._clock()
        if self._last is not None and (left := self._last + self._pause - now) > 0:
            self._sleep(left)
        self._last = self._clock()


def _checked_url(url: str) -> str:
    """The whole address of the chat endpoint."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"--endpoint {url!r}: give an address such as https://HOST/v1")
    if parts.username or parts.password or parts.query:
        raise UserError(f"--endpoint holds a password or a query: set {KEY} and leave them out")
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if parts.scheme == "http" and os.environ.get(KEY) and not local:
        raise UserError(f"--endpoint {url}: http would send {KEY} readable for all: give https")
    end = "/chat/completions"
    return url if url.rstrip("/").endswith(end) else url.rstrip("/") + end


def _label(answer: bytes) -> str:
    """The label in a chat completion, "" where there is none."""
    try:
        said = json.loads(answer)["choices"][0]["message"]["content"]
        inside = re.search(r"\{.*?\}", said, re.DOTALL)
        label = json.loads(inside[0])["emotion"] if inside else said
        word = str(label).strip().strip(".\"'").lower()
    except (ValueError, KeyError, IndexError, TypeError):
        return ""
    return word if word in LABELS else ""
