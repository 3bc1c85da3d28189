"""The profile's endpoint, whose whole answer is kept: no query at all when it is warm."""

from django.http import HttpRequest, HttpResponse

from accounts import views_optimised
from django_querybudget.cache import cached_view
from marketplace.api import endpoint, from_database


@cached_view(600)
@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    return views_optimised.show_profile(request, from_database)
