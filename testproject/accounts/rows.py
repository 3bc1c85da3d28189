"""How a user's profile and wallet look in JSON: the same, however they were loaded."""

from typing import Any

from accounts.models import CustomUser, Profile, Wallet
from marketplace.api import money


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
