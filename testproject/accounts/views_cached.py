"""The profile's endpoint reading through the cache: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from accounts import views_optimised
from django_querybudget.cache import cached_queryset
from marketplace.api import endpoint


@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    return views_optimised.show_profile(request, cached_queryset)
