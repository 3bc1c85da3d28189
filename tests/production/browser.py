"""A real Chromium, told what to do over its DevTools protocol, through a pipe.

Why not Selenium or Playwright
    Selenium needs a driver of exactly the browser's version; Playwright a Node of its own (45 MB)
    and a running event loop, in which Django refuses to query. What is needed here is some ten
    commands of a protocol that the browser itself speaks, on a pipe: no port, no package.

The pages come from Django's test client: every request of the browser is answered by it, and
noted, so that a request to anybody else would be seen, and none leaves the machine.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

ORIGIN = "https://testserver"
DEADLINE = 30.0
"""In seconds: a browser that says nothing for so long has died."""

Answer = tuple[int, dict[str, str], bytes]


class Chromium:
    """The system's Chromium: no package brings one."""

    name = "chromium"
    title = "Chromium"
    hint = "apt-get install chromium"

    def program(self) -> str | None:
        """Return the browser; None where there is none."""
        return shutil.which("chromium") or shutil.which("chromium-browser")

    def version(self) -> str:
        """Return the browser's own words on its version."""
        command = [self.program() or self.name, "--version"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


CHROMIUM = Chromium()


class Browser:
    """One browser with one page. Use :meth:`running`."""

    def __init__(self, process: subprocess.Popen[bytes], read: int, write: int) -> None:
        self._process, self._read, self._write = process, read, write
        self._number = 0
        self._buffer = b""
        self._session = ""
        self._loaded = False
        self.answer: Callable[[str], Answer] = lambda url: (404, {}, b"")
        """Answers a path and query of this site."""
        self.requested: list[str] = []
        """The URLs that the page asked for."""
        self.complaints: list[str] = []
        """What stood in its console: errors, violations of the policy."""

    @classmethod
    @contextlib.contextmanager
    def running(cls) -> Iterator[Browser]:
        """Start a browser; end it, and remove its profile, with the block."""
        name = CHROMIUM.program()
        assert name is not None
        (into, write), (read, out) = os.pipe(), os.pipe()
        # The browser wants the pipe's ends as 3 and 4: a shell sees to it, since what a fork of a
        # process with threads may do is little.
        script = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
        with tempfile.TemporaryDirectory(prefix="querybudget-chromium-") as profile:
            process = subprocess.Popen(
                [
                    "/bin/sh", "-c", script, "sh", name, "--headless=new", "--no-sandbox",
                    "--remote-debugging-pipe", f"--user-data-dir={profile}", "--disable-gpu",
                    "--no-first-run", "--disable-extensions", "--disable-background-networking",
                    "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
                    "--disable-features=Translate,OptimizationHints,MediaRouter",
                    "about:blank",
                ],
                stdin=into,
                stdout=out,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            os.close(into)
            os.close(out)
            browser = cls(process, read, write)
            try:
                browser._attach()
                yield browser
            finally:
                with contextlib.suppress(OSError):
                    browser._send("Browser.close", {}, session=False)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                os.close(read)
                os.close(write)

    def _attach(self) -> None:
        targets = self.ask("Target.getTargets", session=False)["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        attached = self.ask("Target.attachToTarget", targetId=page, flatten=True, session=False)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Accessibility", "Audits"):
            self.ask(f"{domain}.enable")
        self.ask("Fetch.enable", patterns=[{"urlPattern": "*"}])

    # What a test does

    def open(self, path: str) -> None:
        """Load a page of the site, and all that belongs to it."""
        self._loaded = False
        self.requested.clear()
        self.complaints.clear()
        self.ask("Page.navigate", url=ORIGIN + path)
        self._until(lambda: self._loaded)
        self.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))")

    def look(self, *, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Be a window of that size, of somebody who likes it dark or light."""
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression of JavaScript's: the page itself has none."""
        found = self.ask(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, and let it go."""
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("rawKeyDown", "keyUp"):
            pressed = {"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code}
            self.ask("Input.dispatchKeyEvent", **pressed)

    def accessible(self) -> list[tuple[str, str]]:
        """Return role and name of what a screen reader is told of, in order."""
        return [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in self.ask("Accessibility.getFullAXTree")["nodes"]
            if not node["ignored"]
        ]

    def picture(self, form: str = "webp") -> bytes:
        """Return what the window shows."""
        quality = {"quality": 82} if form == "webp" else {}
        found = self.ask("Page.captureScreenshot", format=form, **quality)
        return base64.b64decode(found["data"])

    # The protocol

    def ask(self, method: str, *, session: bool = True, **parameters: Any) -> dict[str, Any]:
        """Give a command and return its answer; what happens meanwhile is seen to."""
        number = self._send(method, parameters, session=session)
        answers: list[dict[str, Any]] = []
        self._until(lambda: bool(answers), number, answers)
        assert "error" not in answers[0], (method, answers[0])
        result: dict[str, Any] = answers[0]["result"]
        return result

    def _send(self, method: str, parameters: dict[str, Any], *, session: bool = True) -> int:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        return self._number

    def _until(
        self,
        done: Callable[[], bool],
        number: int = 0,
        answers: list[dict[str, Any]] | None = None,
    ) -> None:
        deadline = time.monotonic() + DEADLINE
        while not done():
            message = self._next(deadline)
            if answers is not None and message.get("id") == number:
                answers.append(message)
            elif "method" in message:
                self._happened(message["method"], message["params"])

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            read = os.read(self._read, 1 << 20) if ready else b""
            if not read:
                raise AssertionError(
                    f"{CHROMIUM.title} says nothing; it ended with {self._process.poll()}"
                )
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _happened(self, what: str, told: dict[str, Any]) -> None:
        if what == "Fetch.requestPaused":
            self._fulfil(told["requestId"], told["request"]["url"])
        elif what == "Page.loadEventFired":
            self._loaded = True
        elif what == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"])
        elif what in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.complaints.append(json.dumps(told))
        elif what == "Audits.issueAdded":
            self.complaints.append(json.dumps(told["issue"]))

    def _fulfil(self, request: str, url: str) -> None:
        if url != f"{ORIGIN}/favicon.ico":  # asked for by the browser, not by the page
            self.requested.append(url)
        if not url.startswith(f"{ORIGIN}/"):
            self._send("Fetch.failRequest", {"requestId": request, "errorReason": "AccessDenied"})
            return
        status, headers, body = self.answer(url.removeprefix(ORIGIN))
        answered = {
            "requestId": request,
            "responseCode": status,
            "responseHeaders": [{"name": name, "value": headers[name]} for name in headers],
            "body": base64.b64encode(body).decode(),
        }
        self._send("Fetch.fulfillRequest", answered)
