from django.http import HttpRequest, HttpResponse
from django.urls import path

from tests.indexes.planted.shop.models import Order


def by_coupon(request: HttpRequest, coupon: str) -> HttpResponse:
    return HttpResponse(Order.objects.filter(coupon=coupon).count())


urlpatterns = [path("coupon/<str:coupon>/", by_coupon, name="orders-by-coupon")]
