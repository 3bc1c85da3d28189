"""What decorators of ours were put around, for the system checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["decorated"]

decorated: WeakKeyDictionary[Callable[..., Any], str] = WeakKeyDictionary()
"""Each callable that one of our decorators has made, and the decorator's name."""
