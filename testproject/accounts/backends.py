"""Who is logged in, read through the cache: the look-up that every request begins with."""

from django.contrib.auth.backends import ModelBackend

from accounts.models import CustomUser
from django_querybudget.cache import cached_queryset


class CachedUserBackend(ModelBackend):
    """Loads the user of a session from the cache; a change of the user's row is seen at once."""

    def get_user(self, user_id: int) -> CustomUser | None:
        """Return the user, None for one that is gone or not active."""
        user = cached_queryset(CustomUser._default_manager.filter(pk=user_id)).first()
        return user if user is not None and self.user_can_authenticate(user) else None
