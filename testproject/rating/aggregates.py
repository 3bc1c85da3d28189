"""What the reviews say of a user, as expressions that another query takes along."""

from django.db.models import Avg, Count, IntegerField, OuterRef, Subquery
from django.db.models.functions import Coalesce

from rating.models import Review


def average_rating(user: str) -> Subquery:
    """Return the mean rating of the user that the outer query names by the path ``user``."""
    received = Review.objects.filter(reviewed=OuterRef(user)).order_by().values("reviewed")
    return Subquery(received.annotate(value=Avg("rating")).values("value"))


def review_count(user: str) -> Coalesce:
    """Return the number of reviews of the user that the outer query names by ``user``."""
    received = Review.objects.filter(reviewed=OuterRef(user)).order_by().values("reviewed")
    counted = received.annotate(value=Count("pk")).values("value")
    return Coalesce(Subquery(counted), 0, output_field=IntegerField())
