"""Where ``CachedViewMiddleware`` stands in ``MIDDLEWARE``.

Its place is the last: a hit stands where the view would, once every other middleware has seen the
request. What stood below it would be passed over, or would change each response twice. Of Django's
own middleware some may: they let no request through or not, and do the same again without harm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["misplaced"]

_HARMLESS = frozenset(
    {
        "django.contrib.messages.middleware.MessageMiddleware",
        "django.contrib.sites.middleware.CurrentSiteMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
        "django.middleware.locale.LocaleMiddleware",
        "django.middleware.security.SecurityMiddleware",
    }
)


def misplaced(middleware: Sequence[str], is_ours: Callable[[str], bool]) -> list[str]:
    """Return the entries of ``MIDDLEWARE`` that must not stand below ours, and do."""
    for place in range(len(middleware) - 1, -1, -1):
        if is_ours(middleware[place]):
            return [name for name in middleware[place + 1 :] if name not in _HARMLESS]
    return []
