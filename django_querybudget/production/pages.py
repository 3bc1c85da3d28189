"""A picture as HTML: no script, no asset of another's, every name escaped.

The templates are rendered by an engine of their own: the host's may be another, or have other
settings.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.template import Context, Engine

from .charts import histogram, trend
from .measures import MEASURES
from .reading import Picture
from .record import SeriesKey
from .summary import Row, summarised

__all__ = ["PERIODS", "render_file", "render_overview", "render_series", "stylesheet"]

HERE = Path(__file__).parent
PERIODS = ("1h", "2h", "24h", "7d", "14d")
"""What the page links to; a picture of up to two hours is by minute."""


@cache
def _engine() -> Engine:
    return Engine(dirs=[str(HERE / "templates")])


@cache
def stylesheet() -> str:
    """Return the page's stylesheet."""
    return (HERE / "static" / "querybudget.css").read_text(encoding="utf-8")


def _render(template: str, names: dict[str, Any]) -> str:
    # No localisation: a number with a decimal comma is no SVG.
    return _engine().get_template(template).render(Context(names, use_l10n=False))


def _rows(picture: Picture, since: str) -> list[dict[str, Any]]:
    return [
        {
            "row": row,
            "query": urlencode({**row.key._asdict(), "since": since}),
            "length": f"{row.share * 100:.2f}",
        }
        for row in summarised(picture.whole)
    ]


def _common(picture: Picture, since: str) -> dict[str, Any]:
    return {
        "since": since,
        "periods": PERIODS,
        "until": datetime.fromtimestamp(picture.until, UTC).strftime("%d %b %Y %H:%M UTC"),
        "trend": trend(picture.trend),
        "releases": [name for name in picture.releases if name],
    }


def render_overview(picture: Picture, since: str, *, style: str) -> str:
    """Return the page of all series; ``style`` is the stylesheet's URL."""
    names = {**_common(picture, since), "rows": _rows(picture, since), "style": style}
    return _render("overview.html", names)


def render_file(picture: Picture, since: str = "") -> str:
    """Return the same as one self-contained file, with all series' shapes."""
    names = {
        **_common(picture, since),
        "rows": _rows(picture, since),
        "inline": stylesheet(),
        "whole": True,
    }
    return _render("overview.html", names)


def render_series(picture: Picture, key: SeriesKey, since: str, *, style: str, home: str) -> str:
    """Return the page of one series; None of it if the picture has none."""
    row: Row | None = next((each for each in summarised(picture.whole) if each.key == key), None)
    names = {**_common(picture, since), "key": key, "row": row, "style": style, "home": home}
    if row is not None:
        numbers = picture.whole.series[key].numbers
        names["trend"] = trend(picture.trends[key])
        names["query"] = urlencode(key._asdict())
        names["queries"] = histogram(MEASURES[0], numbers)
        names["times"] = histogram(MEASURES[1], numbers, factor=1000)
    return _render("series.html", names)
