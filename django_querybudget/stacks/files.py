"""What a code object's file says of it: :func:`kind_of`. One table for whose code is whose."""

from __future__ import annotations

import os
import re
import sysconfig
from types import CodeType

import asgiref
import django
from django.template.base import Node

from .tasks import THREAD_HANDLER

__all__ = [
    "BOUNDARY",
    "FRAMEWORK",
    "INTERNAL",
    "LIBRARY",
    "PROJECT",
    "RENDER_ANNOTATED",
    "SERIALIZERS",
    "TEMPLATES",
    "TOOL",
    "checks_access",
    "is_boundary",
    "is_djangos",
    "is_library",
    "is_project",
    "is_project_file",
    "kind_of",
    "kinds",
]

INTERNAL = 0
"""The standard library's, Django's, a wrapper's, ours: nobody's line, and false for the walk."""
LIBRARY, PROJECT, TEMPLATES, SERIALIZERS, _ASGIREF = range(1, 6)
FRAMEWORK = 6
"""What calls the project's code, or works for an object of the project's: see :mod:`.hosts`."""
BOUNDARY = 7
"""What calls a view for a request. Outside of it are middleware and tests, which pass it on."""
TOOL = 8
"""Another tool's that sends queries of its own: see :mod:`.tools`."""

_DJANGO = os.path.join(os.path.dirname(django.__file__), "")
_INTERNAL_FOLDERS = tuple(
    os.path.join(path, "")
    for path in {
        os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        os.path.dirname(django.__file__),
        os.path.dirname(asgiref.__file__),
    }
)
_STDLIB_FOLDERS = tuple(
    os.path.join(path, "")
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")

RENDER_ANNOTATED = Node.render_annotated.__code__

# Within Django, and within packages; with forward slashes.
_DJANGOS_BOUNDARIES = ("core/handlers/", "test/client.py")
_DJANGOS_FRAMEWORKS = ("views/generic/", "contrib/admin/", "template/response.py")
_FRAMEWORKS = (
    "graphql/execution/",  # Of both graphene and strawberry.
    "rest_framework/decorators.py",
    "rest_framework/generics.py",
    "rest_framework/mixins.py",
    "rest_framework/views.py",
    "rest_framework/viewsets.py",
    "ninja/operation.py",
)
# Packages that watch queries, requests or time, by the folder of their code. These send queries of
# their own: they store what they see, and run EXPLAIN.
TOOLS = ("debug_toolbar", "silk")
# These only wrap what they watch: nobody's line, as the standard library is.
_WRAPPERS = (
    "ddtrace",
    "django_perf_rec",
    "django_prometheus",
    "elasticapm",
    "google/cloud/sqlcommenter",
    "logfire",
    "newrelic",
    "nplus1",
    "nplusone",
    "opentelemetry",
    "querycount",
    "scout_apm",
    "sentry_sdk",
    "wrapt",  # What most of them wrap methods with.
    "zeal",
)
_TOOL_FOLDERS = tuple(f"{name}/" for name in TOOLS)
_WRAPPER_FOLDERS = tuple(f"{name}/" for name in _WRAPPERS)

kinds: dict[str, int] = {}
"""The files met so far, for the walk that cannot afford a call. Its key is all that an answer
depends on."""
# Code that is made as it runs may have a file name of its own each time.
MOST_FILES = 10_000

# Of a class-based view, a viewset, an admin, an operation: what takes a request and answers it.
_ANSWERS = re.compile(
    r"(?:view|dispatch|handler|inner|wrapper|run|get|head|post|put|patch|delete|options"
    r"|execute_field|list|create|retrieve|update|partial_update|destroy|index|app_index|\w+_view|_changeform_view)"
)
# What asks, before a view does, who it is that asks: of no view's queryset.
_CHECKS_ACCESS = re.compile(r"initial|perform_authentication|check_\w+|has_\w*permission")


def classify(filename: str) -> int:
    """Return the kind of a file, and remember it."""
    if filename == RENDER_ANNOTATED.co_filename:
        kind = TEMPLATES
    elif filename == THREAD_HANDLER.co_filename:
        kind = _ASGIREF
    elif filename.startswith(_DJANGO):
        kind = _of_django(filename.removeprefix(_DJANGO).replace(os.sep, "/"))
    elif filename.startswith(_INTERNAL_FOLDERS) or filename.startswith(("<frozen", "<string>")):
        kind = INTERNAL
    elif (packages := next((each for each in _PACKAGES if each in filename), None)) is not None:
        kind = _of_packages(filename.rpartition(packages)[2].replace(os.sep, "/"))
    elif filename.startswith(_STDLIB_FOLDERS):
        kind = INTERNAL
    else:
        kind = PROJECT
    if len(kinds) >= MOST_FILES:
        kinds.clear()
    kinds[filename] = kind
    return kind


def _of_django(path: str) -> int:
    if path.startswith(_DJANGOS_BOUNDARIES):
        return BOUNDARY
    return FRAMEWORK if path.startswith(_DJANGOS_FRAMEWORKS) else INTERNAL


def _of_packages(path: str) -> int:
    if path == "rest_framework/serializers.py":
        return SERIALIZERS
    if path.startswith(_TOOL_FOLDERS):
        return TOOL
    if path.startswith(_WRAPPER_FOLDERS):
        return INTERNAL
    return FRAMEWORK if path.startswith(_FRAMEWORKS) else LIBRARY


def kind_of(code: CodeType) -> int:
    """Return the kind of a code object's file."""
    kind = kinds.get(code.co_filename)
    return classify(code.co_filename) if kind is None else kind


def is_project(code: CodeType) -> bool:
    """Whether ``code`` is the project's: no standard library, no package, not Django, not ours."""
    return kind_of(code) == PROJECT


def is_project_file(path: str) -> bool:
    """Whether a file, or a folder, is the project's: as :func:`is_project` of the code in it."""
    return kinds.get(path, -1) == PROJECT or classify(path) == PROJECT


def is_library(code: CodeType) -> bool:
    """Whether ``code`` is an installed package's, other than Django, this library and the tools."""
    kind = kind_of(code)
    return kind in (LIBRARY, SERIALIZERS) or (
        kind == FRAMEWORK and not code.co_filename.startswith(_DJANGO)
    )


def is_djangos(code: CodeType) -> bool:
    """Whether ``code`` is Django's."""
    return code.co_filename.startswith(_DJANGO)


def is_boundary(code: CodeType) -> bool:
    """Whether ``code`` answers a request for the framework: what calls it only passes that on."""
    kind = kind_of(code)
    return kind == BOUNDARY or (kind == FRAMEWORK and _ANSWERS.fullmatch(code.co_name) is not None)


def checks_access(code: CodeType) -> bool:
    """Whether a framework's ``code`` asks who the user is and what they may do."""
    return _CHECKS_ACCESS.fullmatch(code.co_name) is not None
