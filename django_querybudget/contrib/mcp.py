"""What ``manage.py querybudget explain`` knows, as tools for coding agents: MCP over stdio.

``python -m django_querybudget.contrib.mcp``, with ``DJANGO_SETTINGS_MODULE``; the extra ``mcp``
brings the official package. No tool writes: neither a file nor a row.

What is printed
    stdout is the protocol's. The process gives it away before Django is set up, so that whatever
    the project prints, then or later, goes to stderr.

Which thread
    Django refuses to query in an event loop: each call runs on one thread of its own, as in a
    server, and leaves no connection open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

__all__ = ["main"]

logger = logging.getLogger("django_querybudget")

MOST_FINDINGS = 50
"""So many findings are listed unless another number is asked for."""

_LONG_WORD = re.compile(r"(\S{200})\S+")

_VIEW = {
    "type": "string",
    "description": "A view as in BUDGETS (jobs:list, /jobs/<int:pk>/, POST jobs:list), or the "
    "dotted path of its code (jobs.views.job_list).",
}


def _list_findings(file: Path, view: str = "", most: int = MOST_FINDINGS) -> dict[str, Any]:
    from django_querybudget.explaining.counts import known
    from django_querybudget.explaining.findings import every_finding
    from django_querybudget.explaining.views import views_of

    files = known(file)
    found = list(every_finding(files))
    if view:
        asked = views_of(view)
        names = {each.name for each in asked.views}
        found = [
            each
            for each in found
            if each["view"].partition(" ")[2] in names
            and asked.method in ("", each["view"].partition(" ")[0])
        ]
    shown = found[:most]
    return {"unknown": files.no_last, "findings": shown, "left_out": len(found) - len(shown)}


def _explain_view(file: Path, view: str) -> dict[str, Any]:
    from django_querybudget.explaining.explanation import explanation

    return explanation(view, file)


def _propose_fix(file: Path, finding: str) -> dict[str, Any]:
    from django_querybudget.explaining.counts import known
    from django_querybudget.explaining.findings import finding_of

    return finding_of(known(file), finding)


def _check_budget(file: Path, view: str) -> dict[str, Any]:
    from django_querybudget.explaining.judging import judged

    return judged(view, file)


@dataclass(frozen=True)
class Tool:
    """One tool: what it is for, what it takes, and what it does."""

    description: str
    properties: Mapping[str, Any]
    required: Sequence[str]
    run: Callable[..., dict[str, Any]]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.required),
            "additionalProperties": False,
        }


TOOLS = {
    "list_findings": Tool(
        "The N+1 queries that the last test run found, those of most queries first, each with an "
        "id, its line and the line to write.",
        {
            "view": {**_VIEW, "description": f"{_VIEW['description']} All views without it."},
            "most": {
                "type": "integer", "minimum": 1, "maximum": 500,
                "description": f"How many to list; {MOST_FINDINGS} without it.",
            },
        },
        (),
        _list_findings,
    ),
    "explain_view": Tool(
        "Everything known of one view: budget, recorded line, last counts, N+1 queries, indexes, "
        "cache. With an asterisk at the end (jobs:*), the views that begin so.",
        {"view": _VIEW},
        ("view",),
        _explain_view,
    ),
    "propose_fix": Tool(
        "The line to write for one N+1 query, and where; its patch and what proved it, if there is "
        "one. Writes nothing.",
        {"finding": {"type": "string", "description": "The id that list_findings has."}},
        ("finding",),
        _propose_fix,
    ),
    "check_budget": Tool(
        "Whether a view kept within its budget and its recorded line in the last test run.",
        {"view": _VIEW},
        ("view",),
        _check_budget,
    ),
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the client leaves. Returns the exit status: 2 where there is nothing to serve."""
    parser = argparse.ArgumentParser(
        prog="python -m django_querybudget.contrib.mcp",
        description="Serves what is known of the project's views to a coding agent, by MCP over "
        "stdin and stdout. Needs DJANGO_SETTINGS_MODULE. Writes nothing.",
    )
    parser.add_argument(
        "--file",
        metavar="PATH",
        default="querybudget.toml",
        type=Path,
        help="the file of the recorded lines; the last test run's stands beside it "
        "(default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    try:
        import mcp.server.stdio  # noqa: F401 - to know it before Django is set up
    except ImportError:
        sys.stderr.write("The package mcp is missing: python -m pip install 'mcp>=2.0'.\n")
        return 2
    if not os.environ.get("DJANGO_SETTINGS_MODULE"):
        sys.stderr.write("DJANGO_SETTINGS_MODULE is not set: it names the project's settings.\n")
        return 2
    wire = _taken_stdout()
    import django

    try:
        django.setup()
    except Exception as error:
        sys.stderr.write(
            f"Django cannot be set up with the settings {os.environ['DJANGO_SETTINGS_MODULE']}: "
            f"{type(error).__name__}: {error} ({_last_line(error)}). DJANGO_SETTINGS_MODULE names "
            "them, PYTHONPATH the folder that they are imported from.\n"
        )
        return 2
    asyncio.run(_serve(options.file.absolute(), wire))
    return 0


def _last_line(error: Exception) -> str:
    """Return the line that an exception came from: ``"/srv/shop/settings.py:12"``."""
    found = [
        each
        for each in traceback.extract_tb(error.__traceback__)
        if not each.filename.startswith("<")
    ]
    return f"{found[-1].filename}:{found[-1].lineno}" if found else "no line of Python"


def _taken_stdout() -> BinaryIO:
    """Return what stdout was; all that is printed from now on goes to stderr."""
    sys.stdout.flush()
    wire = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = sys.stderr
    return os.fdopen(wire, "wb")


async def _serve(file: Path, wire: BinaryIO) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    stdout = anyio.wrap_file(TextIOWrapper(wire, encoding="utf-8"))
    server = _server(file)
    async with stdio_server(stdout=stdout) as (read, write):
        await server.run(read, write, server.create_initialization_options())


def _server(file: Path) -> Server[Any]:
    from asgiref.sync import sync_to_async
    from mcp.server.lowlevel import Server
    from mcp.types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        TextContent,
        ToolAnnotations,
    )
    from mcp.types import Tool as Declared

    from django_querybudget import __version__

    async def list_tools(context: object, parameters: object) -> ListToolsResult:
        del context, parameters
        harmless = ToolAnnotations(read_only_hint=True, open_world_hint=False)
        declared = [
            Declared(
                name=name, description=tool.description, input_schema=tool.schema,
                annotations=harmless,
            )
            for name, tool in TOOLS.items()
        ]  # fmt: skip
        return ListToolsResult(tools=declared)

    async def call_tool(context: object, asked: CallToolRequestParams) -> CallToolResult:
        del context
        told, problem = await sync_to_async(_called)(file, asked.name, asked.arguments or {})
        text = _shortened(problem) or json.dumps(told, ensure_ascii=False)
        return CallToolResult(
            content=[TextContent(type="text", text=text)],
            structured_content=told,
            is_error=bool(problem),
        )

    return Server(
        "django-querybudget",
        version=__version__,
        instructions="What django-querybudget knows of this project's views: query budgets, N+1 "
        "queries with the line to write, indexes, caching. Reads only.",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _shortened(problem: str) -> str:
    """Return a problem without the most of a long value that it names: an agent reads all of it."""
    return _LONG_WORD.sub(r"\1…", problem)


def _called(
    file: Path, name: str, arguments: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str]:
    """Return what a tool tells, or what is wrong with the call. Runs on a thread, and may query."""
    from django.db import connections

    from django_querybudget.exceptions import QueryBudgetError

    tool = TOOLS.get(name)
    if tool is None:
        return None, f"There is no tool {name!r}; there are: {', '.join(TOOLS)}."
    if problem := _problem_with(tool, arguments):
        return None, f"{name}: {problem}."
    try:
        return tool.run(file, **arguments), ""
    except QueryBudgetError as error:
        return None, str(error)
    except Exception as error:  # the project's URLconf, its settings: the server goes on
        logger.exception("The tool %s failed.", name)
        return None, f"{name} failed: {type(error).__name__}: {error}"
    finally:
        connections.close_all()


def _problem_with(tool: Tool, arguments: Mapping[str, Any]) -> str:
    from jsonschema import Draft202012Validator  # mcp brings it

    errors = sorted(
        Draft202012Validator(tool.schema).iter_errors(arguments), key=lambda each: each.message
    )
    return "; ".join(f"{each.json_path}: {each.message}" for each in errors)


if __name__ == "__main__":
    sys.exit(main())
