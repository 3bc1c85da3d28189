"""The payments' endpoint as it is written first, and after its first repair.

Somebody saw slow queries and joined everything within reach: five tables that no one reads, and
not the two profiles that each row then asks for.
"""

from django.db.models import Count, Q, Sum
from django.http import HttpRequest, HttpResponse

from marketplace.api import (
    check_page,
    endpoint,
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
    user = user_of(request)
    made, received, paid = Q(payer=user), Q(recipient=user), Q(status=PaymentStatus.PAID)
    mine = (
        Payment.objects.filter(made | received)
        .select_related(
            "job__industry", "job__client__wallet", "payer__wallet", "recipient__wallet"
        )
        .order_by("-created_at", "-id")
    )
    totals = mine.aggregate(
        count=Count("pk"),
        paid=Sum("amount", filter=made & paid),
        received=Sum("amount", filter=received & paid),
    )
    check_page(page_number(request), totals["count"])
    return page_response(
        request,
        [payment_row(payment) for payment in page_of(request, mine)],
        totals["count"],
        paid=money(totals["paid"]),
        received=money(totals["received"]),
    )
