"""The profile's endpoint with three queries: the login, all figures, the latest reviews."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts.figures import users_with_figures
from accounts.rows import LATEST, profile_page, review_row
from marketplace.api import Read, endpoint, from_database, user_of
from rating.models import Review


@endpoint
def user_profile(request: HttpRequest) -> HttpResponse:
    """Show the user's profile, wallet, figures and latest reviews."""
    return show_profile(request, from_database)


def show_profile(request: HttpRequest, read: Read) -> HttpResponse:
    users = read(users_with_figures())
    user: Any = users.get(pk=user_of(request).pk)
    reviews = read(Review.objects.filter(reviewed=user).select_related("reviewer__profile", "job"))
    latest = [review_row(review) for review in reviews.order_by("-created_at", "-id")[:LATEST]]
    return JsonResponse(profile_page(user, latest))
