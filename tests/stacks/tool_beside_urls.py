"""The views of ``tool_beside``: a nested serializer, loops, queries of no line of its own."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from rest_framework import generics, serializers
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

KEY = "token"


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


class Mine(APIView):
    """Asks nothing itself: REST framework does, for who it is that asks."""

    authentication_classes = (TokenAuthentication,)

    def get(self, request: Request) -> Response:
        return Response({"name": request.user.get_username()})


def visit(request: HttpRequest) -> JsonResponse:
    request.session["visited"] = True  # Saved by Django's middleware, past this line.
    return JsonResponse({})


def as_row(user: User) -> dict[str, Any]:
    return {"name": user.username, "groups": [group.name for group in user.groups.all()]}


def rows(request: HttpRequest) -> JsonResponse:
    users = User.objects.order_by("pk")
    return JsonResponse({"rows": [as_row(user) for user in users]})


async def as_row_async(user: User) -> dict[str, Any]:
    return {"name": user.username, "groups": [group.name async for group in user.groups.all()]}


async def async_rows(request: HttpRequest) -> JsonResponse:
    users = User.objects.order_by("pk")
    return JsonResponse({"rows": [await as_row_async(user) async for user in users]})


def fill() -> None:
    permissions = list(Permission.objects.order_by("pk")[:4])
    for number in range(4):
        group = Group.objects.create(name=f"group {number}")
        group.permissions.set(permissions[: number + 1])
        User.objects.create(username=f"user {number}").groups.add(group)
    Token.objects.create(user=User.objects.order_by("pk")[0], key=KEY)


urlpatterns: list[Any] = [
    path("users", Users.as_view()),
    path("mine", Mine.as_view()),
    path("visit", visit),
    path("rows", rows),
    path("async-rows", async_rows),
]
if apps.is_installed("debug_toolbar"):
    urlpatterns += [path("__debug__/", include("debug_toolbar.urls"))]
