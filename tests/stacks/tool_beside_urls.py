"""The views of ``tool_beside``: a nested serializer, three relations deep."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.urls import include, path
from rest_framework import generics, serializers


class ContentTypeSerializer(serializers.ModelSerializer[ContentType]):
    class Meta:
        model = ContentType
        fields = ("model",)


class PermissionSerializer(serializers.ModelSerializer[Permission]):
    content_type = ContentTypeSerializer()

    class Meta:
        model = Permission
        fields = ("codename", "content_type")


class GroupSerializer(serializers.ModelSerializer[Group]):
    permissions = PermissionSerializer(many=True)

    class Meta:
        model = Group
        fields = ("name", "permissions")


class UserSerializer(serializers.ModelSerializer[User]):
    groups = GroupSerializer(many=True)

    class Meta:
        model = User
        fields = ("username", "groups")


class Users(generics.ListAPIView[User]):
    queryset = User.objects.order_by("pk")
    serializer_class = UserSerializer
    authentication_classes = ()


def fill() -> None:
    permissions = list(Permission.objects.order_by("pk")[:4])
    for number in range(4):
        group = Group.objects.create(name=f"group {number}")
        group.permissions.set(permissions[: number + 1])
        User.objects.create(username=f"user {number}").groups.add(group)


urlpatterns: list[Any] = [path("users", Users.as_view())]
if apps.is_installed("debug_toolbar"):
    urlpatterns += [path("__debug__/", include("debug_toolbar.urls"))]
