"""How a user's profile looks in JSON: the same, however its rows were loaded."""

from typing import Any

from accounts.models import CustomUser, Profile, Wallet
from marketplace.api import money, stars
from rating.models import Review

LATEST = 10
"""How many reviews a profile shows."""


def profile_row(user: CustomUser) -> dict[str, Any] | None:
    """Return the user's profile, None where there is none."""
    try:
        profile = user.profile
    except Profile.DoesNotExist:
        return None
    return {
        "role": profile.role,
        "headline": profile.headline,
        "bio": profile.bio,
        "avatar": profile.avatar,
        "city": profile.city,
        "skills": profile.skills,
        "joined_at": profile.joined_at.isoformat(),
    }


def wallet_row(user: CustomUser) -> dict[str, str] | None:
    """Return the user's wallet, None where there is none."""
    try:
        wallet = user.wallet
    except Wallet.DoesNotExist:
        return None
    return {"balance": money(wallet.balance), "currency": wallet.currency}


def review_row(review: Review) -> dict[str, Any]:
    """Return what a profile shows of a review received."""
    return {
        "rating": review.rating,
        "comment": review.comment,
        "created_at": review.created_at.isoformat(),
        "job": review.job.title,
        "reviewer": {"name": review.reviewer.full_name, "avatar": review.reviewer.avatar},
    }


def profile_page(user: Any, latest: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the profile of a user that has the figures of :mod:`accounts.figures`."""
    return {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "name": user.full_name,
        "verified": user.verified,
        "profile": profile_row(user),
        "wallet": wallet_row(user),
        "rating": stars(user.rating),
        "reviews": user.number_of_reviews,
        "jobs": user.number_of_jobs,
        "saved_jobs": user.number_saved,
        "applications": user.number_applied,
        "accepted": user.number_accepted,
        "earned": money(user.earned),
        "spent": money(user.spent),
        "latest_reviews": latest,
    }
