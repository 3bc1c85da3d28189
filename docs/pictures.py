"""Make the pictures of README and documentation from what the library really prints.

Run it by ``make pictures``: it fills the marketplace in a folder that is thrown away, runs the demo
and writes ``docs/_static/*.svg``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "docs" / "_static"
CHARACTER, LINE, MARGIN, BAR = 7.3, 17, 18, 30  # pixels
STYLE = (
    "text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d8dee9;"
    "white-space:pre}.title{fill:#9aa5b8}.good{fill:#8fce8f}.code{fill:#8ec7ff}.dim{fill:#8792a6}"
)
# What stands out, in this order: what came down to, a line to write, a place.
CLASSES = (
    (re.compile(r"->\s*[\d.]+"), "good"),
    (re.compile(r"^\s+at\s.*$"), "dim"),
    (re.compile(r"^\s{8,}[(.A-Z)].*$"), "code"),
    (re.compile(r"─+"), "dim"),
)


def main() -> None:
    """Write the pictures."""
    lines = demo()
    start = next(number for number, line in enumerate(lines) if "distinct" in line)
    end = next(number for number, line in enumerate(lines) if line.startswith("naive ->"))
    write("demo", "$ make demo", lines[start:end], "Queries of seven endpoints, before and after")
    finding = lines.index("/naive/alljobs")
    following = next(n for n in range(finding, len(lines)) if not lines[n].strip())
    shown = cut(lines[finding:following])
    write("finding", "an N+1 loop, and the line to write", shown, "An N+1 finding as it is printed")


def demo() -> list[str]:
    """Return what the demo prints."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "DATABASE_URL": f"sqlite:///{folder}/demo.sqlite3"}
        command = [sys.executable, str(ROOT / "testproject" / "manage.py"), "demo", "--rounds=3"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [line.rstrip() for line in done.stdout.splitlines()]


def cut(lines: list[str]) -> list[str]:
    """Return the lines up to the end of the first line to write."""
    for number, line in enumerate(lines):
        if number and lines[number - 1].strip() == ")" and not line.startswith(" " * 8):
            return lines[:number]
    return lines


def write(name: str, title: str, lines: list[str], description: str) -> None:
    """Write a picture of a terminal with ``lines`` in it."""
    width = round(max(map(len, lines)) * CHARACTER + 2 * MARGIN)
    height = BAR + len(lines) * LINE + MARGIN
    rows = [
        f'<text x="{MARGIN}" y="{BAR + number * LINE + LINE - 4}">{spans(line)}</text>'
        for number, line in enumerate(lines)
    ]
    STATIC.mkdir(exist_ok=True)
    (STATIC / f"{name}.svg").write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="{escape(description)}">\n'
        f"<title>{escape(description)}</title>\n<style>{STYLE}</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#20242c"/>\n'
        f'<text class="title" x="{MARGIN}" y="20">{escape(title)}</text>\n'
        + "\n".join(rows)
        + "\n</svg>\n",
        encoding="utf-8",
    )


def spans(line: str) -> str:
    """Return a line with what stands out in a class of its own.

    Blanks that do not break: not every viewer keeps the others.
    """
    line = line.replace(" ", "\xa0")
    for pattern, name in CLASSES:
        if pattern.search(line):
            parts = []
            end = 0
            for match in pattern.finditer(line):
                parts += [escape(line[end : match.start()])]
                parts += [f'<tspan class="{name}">{escape(match[0])}</tspan>']
                end = match.end()
            return "".join([*parts, escape(line[end:])])
    return escape(line)


if __name__ == "__main__":
    main()
