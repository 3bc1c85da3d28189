"""The payments' endpoint with three queries: the user, the totals and the page."""

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse

from marketplace.api import (
    Read,
    check_page,
    endpoint,
    from_database,
    money,
    page_number,
    page_of,
    page_response,
    user_of,
)
from payment.models import Payment, PaymentStatus
from payment.rows import payment_row


@endpoint
def payments(request: HttpRequest) -> HttpResponse:
    """List what the user has paid and received, the newest first, with both totals."""
    return list_payments(request, from_database)


def list_payments(request: HttpRequest, read: Read) -> HttpResponse:
    user = user_of(request)
    made, received = Q(payer=user), Q(recipient=user)
    paid = Q(status=PaymentStatus.PAID)
    mine = read(Payment.objects.filter(made | received))
    totals = mine.aggregate(
        count=Count("pk"),
        paid=Sum("amount", filter=made & paid),
        received=Sum("amount", filter=received & paid),
    )
    check_page(page_number(request), totals["count"])
    page = page_of(
        request,
        mine.select_related("job", "payer__profile", "recipient__profile")
        # The job's status is not shown, but its constructor reads it.
        .only(
            *("amount", "currency", "status", "created_at"),
            *("job__title", "job__status"),
            *("payer__username", "payer__first_name", "payer__last_name"),
            *("recipient__username", "recipient__first_name", "recipient__last_name"),
            *("payer__profile__avatar", "recipient__profile__avatar"),
        )
        .order_by("-created_at", "-id"),
    )
    return page_response(
        request,
        [payment_row(payment) for payment in page],
        totals["count"],
        paid=money(totals["paid"]),
        received=money(totals["received"]),
    )
