from django.contrib import admin

from payment.models import Payment


@admin.register(Payment)
class PaymentAdmin(admin.ModelAdmin):
    list_display = ["reference", "payer", "recipient", "amount", "currency", "status"]
    list_filter = ["status"]
    list_select_related = ["payer", "recipient"]
    raw_id_fields = ["payer", "recipient", "job"]
