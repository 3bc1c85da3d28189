from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import OTP, CustomUser, Profile, Wallet


class ProfileInline(admin.StackedInline):
    model = Profile


@admin.register(CustomUser)
class CustomUserAdmin(UserAdmin):
    list_display = ["username", "email", "role", "is_active", "is_staff"]
    list_filter = ["role", "is_active", "is_staff"]
    fieldsets = [*(UserAdmin.fieldsets or ()), ("Marketplace", {"fields": ["role"]})]
    add_fieldsets = [
        (
            None,
            {
                "classes": ["wide"],
                "fields": ["username", "email", "role", "password1", "password2"],
            },
        ),
    ]
    inlines = [ProfileInline]


@admin.register(OTP)
class OTPAdmin(admin.ModelAdmin):
    list_display = ["user", "is_verified", "created_at"]
    list_filter = ["is_verified"]
    list_select_related = ["user"]
    raw_id_fields = ["user"]


@admin.register(Profile)
class ProfileAdmin(admin.ModelAdmin):
    list_display = ["user", "role", "headline", "joined_at"]
    list_filter = ["role"]
    list_select_related = ["user"]
    raw_id_fields = ["user"]


@admin.register(Wallet)
class WalletAdmin(admin.ModelAdmin):
    list_display = ["user", "balance", "currency"]
    list_select_related = ["user"]
    raw_id_fields = ["user"]
