"""A composite action of GitHub's, run step by step as a runner does; and its expressions.

Of the expressions it knows what ``action.yml`` uses. What it does not know is an error.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<operator>\|\||&&|==|!=)"
    r"|(?P<name>(?:github|inputs|steps)(?:\.[A-Za-z_][\w-]*)+))"
)
_PRECEDENCE = ("||", "&&", "==", "!=")


class UnknownExpression(Exception):
    """An expression that is not among those that are known here."""


def evaluated(expression: str, contexts: Mapping[str, Any]) -> Any:
    """Return what an expression is: names, texts, ``||``, ``&&``, ``==`` and ``!=``."""
    tokens: list[tuple[str, str]] = []
    end = 0
    text = expression.strip()
    while end < len(text):
        found = _TOKEN.match(text, end)
        if found is None or found.lastgroup is None:
            raise UnknownExpression(expression)
        tokens.append((found.lastgroup, found[found.lastgroup]))
        end = found.end()
    return _value(tokens, contexts, expression)


def _value(tokens: list[tuple[str, str]], contexts: Mapping[str, Any], whole: str) -> Any:
    for operator in _PRECEDENCE:
        if ("operator", operator) in tokens:
            at = tokens.index(("operator", operator))
            left, right = (
                _value(side, contexts, whole) for side in (tokens[:at], tokens[at + 1 :])
            )
            if operator in ("||", "&&"):
                return (left or right) if operator == "||" else (left and right)
            return (left == right) is (operator == "==")
    match tokens:
        case [("text", text)]:
            return text[1:-1].replace("''", "'")
        case [("name", name)]:
            found: Any = contexts
            for part in name.split("."):
                found = found.get(part) if isinstance(found, Mapping) else None
            return found
    raise UnknownExpression(whole)


def filled(text: str, contexts: Mapping[str, Any]) -> str:
    """Return ``text`` with each ``${{ … }}`` in it replaced by what it is."""

    def one(found: re.Match[str]) -> str:
        value = evaluated(found[1], contexts)
        return "" if value is None else str(value)

    return re.sub(r"\$\{\{(.*?)\}\}", one, text)


@dataclass
class Job:
    """What a job leaves after the action."""

    status: int = 0
    """Of the step that failed; 0 if none did."""
    log: str = ""
    ran: list[str] = field(default_factory=list)
    """The names of the steps that ran."""
    failed: str = ""
    """The name of the step that failed."""
    outputs: dict[str, str] = field(default_factory=dict)


class Runner:
    """Runs the action of a folder, for a repository that is checked out in another."""

    def __init__(self, action: Path, workspace: Path, temp: Path) -> None:
        self.folder = action
        self.action: dict[str, Any] = yaml.safe_load(
            (action / "action.yml").read_text(encoding="utf-8")
        )
        self.workspace = workspace
        self.temp = temp
        temp.mkdir(exist_ok=True)
        self.summary = temp / "summary.md"
        self.event: dict[str, Any] = {}
        self.environment = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("DJANGO_", "PYTEST_", "QUERYBUDGET_", "GITHUB_", "GIT_"))
        } | {
            "GITHUB_ACTION_PATH": str(action),
            "GITHUB_ACTIONS": "true",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(workspace),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "PYTHONDONTWRITEBYTECODE": "1",
            "RUNNER_TEMP": str(temp),
        }

    def run(self, **inputs: str) -> Job:
        """Run it with these inputs, ``_`` for ``-``; after a step that fails, no other runs."""
        contexts: dict[str, Any] = {"github": {"event": self.event}, "steps": {}}
        given = {name.replace("_", "-"): text for name, text in inputs.items()}
        declared = self.action["inputs"]
        assert not given.keys() - declared.keys()
        contexts["inputs"] = {
            name: given.get(name, filled(each.get("default", ""), contexts))
            for name, each in declared.items()
        }
        job = Job()
        for step in self.action["runs"]["steps"]:
            # Without a function of its own, a condition is `success() && (…)`.
            if job.failed or not evaluated(step.get("if", "'always'"), contexts):
                continue
            outputs = self._step(step, contexts, job)
            if "id" in step:
                contexts["steps"][step["id"]] = {"outputs": outputs}
        job.outputs = {
            name: filled(each["value"], contexts) for name, each in self.action["outputs"].items()
        }
        return job

    def _step(
        self, step: Mapping[str, Any], contexts: Mapping[str, Any], job: Job
    ) -> dict[str, str]:
        assert step.keys() <= {"name", "id", "if", "shell", "env", "run"}, step
        assert step["shell"] == "bash"
        number = len(job.ran)
        script, output = self.temp / f"step-{number}.sh", self.temp / f"output-{number}"
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("")
        asked = {name: filled(str(text), contexts) for name, text in step["env"].items()}
        job.ran.append(step["name"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)],  # noqa: S607 - the runner's own shell
            cwd=self.workspace,
            env={**self.environment, **asked, "GITHUB_OUTPUT": str(output)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=300,
        )
        job.log += done.stdout
        if done.returncode:
            job.status, job.failed = done.returncode, step["name"]
        lines = output.read_text(encoding="utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines)
