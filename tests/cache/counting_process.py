"""A process that counts, and tells what it has counted: see :mod:`tests.cache.test_statistics`."""

from __future__ import annotations

from typing import Any

from tests.cache import actor_process  # first: it sets Django up

from django_querybudget.cache import published, sites, stats  # isort: skip


def count_and_tell(setup: dict[str, Any], pipe: Any) -> None:
    """Count, tell it to the cache, and stay until the pipe is closed."""
    actor_process.configure(setup, with_stops=False)
    sites.site_of("view v").add({"hits": 10, "saved_seconds": 0.5})
    sites.site_of(f"view of {setup['name']}").count("misses")
    stats.count("marks", 3)
    pipe.send(published.publish())
    pipe.poll(60)


def read_and_tell(setup: dict[str, Any], pipe: Any) -> None:
    """Read through the cache, tell it, and send what this process itself has counted."""
    actor_process.configure(setup, with_stops=False)
    from django_querybudget.cache import cache_stats, cached_queryset
    from jobs.models import Industry

    for _ in range(5):
        list(cached_queryset(Industry.objects.order_by("pk"), 60))
        list(cached_queryset(Industry.objects.order_by("?"), 60))
    told = published.publish()
    own = {site.name: [site.hits, site.misses, dict(site.bypasses)] for site in cache_stats().sites}
    pipe.send((told, own))
    pipe.poll(60)
