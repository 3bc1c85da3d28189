from django.contrib import admin

from rating.models import Review


@admin.register(Review)
class ReviewAdmin(admin.ModelAdmin):
    list_display = ["reviewed", "reviewer", "job", "rating", "created_at"]
    list_filter = ["rating"]
    list_select_related = ["reviewed", "reviewer", "job"]
    raw_id_fields = ["reviewed", "reviewer", "job"]
