"""Who is sent our headers: the rule of ``QUERYBUDGET["HEADERS"]``."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest

from . import conf

__all__ = ["may_see_headers"]


def may_see_headers(request: HttpRequest) -> bool:
    """Whether who sent ``request`` may see our headers. Raises what the project's callable does."""
    policy = conf.HEADERS
    if policy is None:
        # Not to INTERNAL_IPS: behind a proxy on the same machine, everybody comes from there.
        return settings.DEBUG
    return policy if isinstance(policy, bool) else bool(policy(request))
