"""Consumers of Channels: each message counted by its handler, on whatever socket and thread."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.consumer import AsyncConsumer
from channels.db import database_sync_to_async
from channels.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
)
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test.utils import override_settings

from django_querybudget import QueryBudgetExceeded, query_budget
from django_querybudget.contrib.channels import MeasuredConsumer
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.recording import hook
from django_querybudget.recording.records import QueryLog
from django_querybudget.work import Work, measured_work
from jobs.models import Industry
from tests.production.conftest import record

__all__ = ["record"]

pytestmark = pytest.mark.django_db(transaction=True)


def ask(times: int) -> int:
    return sum(Industry.objects.filter(pk=number).count() for number in range(times))


class Async(MeasuredConsumer, AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        await Industry.objects.acount()
        await self.accept()

    async def receive_json(self, content: Any, **_: Any) -> None:
        for number in range(content):
            await Industry.objects.filter(pk=number).acount()
            await asyncio.sleep(0)
        await self.send_json(content)

    async def disconnect(self, code: int) -> None:
        await database_sync_to_async(ask)(2)

    async def shop_news(self, event: Any) -> None:
        await database_sync_to_async(ask)(event["times"])
        await self.send_json("news")

    @query_budget(1)
    async def shop_limited(self, event: Any) -> None:
        await database_sync_to_async(ask)(event["times"])
        await self.send_json("limited")


class Sync(MeasuredConsumer, JsonWebsocketConsumer):
    def connect(self) -> None:
        ask(1)
        self.accept()

    def receive_json(self, content: Any, **_: Any) -> None:
        ask(content)
        self.send_json(content)

    def disconnect(self, code: int) -> None:
        ask(2)


HERE = f"message {__name__}."


def counted() -> dict[str, tuple[int, float, float]]:
    return {
        key.title.removeprefix(HERE): (
            each.requests,
            each.total("queries"),
            each.total("violations"),
        )
        for key, each in read_picture(3600).whole.series.items()
    }


def talk(consumer: Any, say: Callable[[WebsocketCommunicator], Awaitable[None]]) -> None:
    """Open a socket, say what is to be said, and close it."""

    async def whole() -> None:
        socket = WebsocketCommunicator(consumer.as_asgi(), "/chat/")
        assert (await socket.connect())[0]
        await say(socket)
        await socket.disconnect()
        assert measured_work.get() is None

    asyncio.run(whole())


async def says(socket: WebsocketCommunicator, *numbers: int) -> None:
    for number in numbers:
        await socket.send_json_to(number)
        assert await socket.receive_json_from() == number


@pytest.mark.parametrize("consumer", [Async, Sync])
def test_each_message_is_counted_by_its_handler(consumer: Any, record: ProcessRecord) -> None:
    talk(consumer, lambda socket: says(socket, 2, 0, 3))
    record.flush()
    name = consumer.__name__
    assert counted() == {
        f"{name}.websocket_connect": (1, 1, 0),
        f"{name}.websocket_receive": (3, 5, 0),
        f"{name}.websocket_disconnect": (1, 2, 0),
    }


def test_sockets_at_the_same_time_do_not_mix(
    record: ProcessRecord, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QUERYBUDGET = {
        **settings.QUERYBUDGET,
        "NPLUSONE": "off",
        "ON_EXCEED": "log",
        "BUDGETS": {f"{HERE}Async.websocket_receive": 4, f"{HERE}*": 2},
    }

    async def one(number: int) -> None:
        socket = WebsocketCommunicator(Async.as_asgi(), "/chat/")
        await socket.connect()
        await says(socket, number, number)
        await socket.disconnect()

    async def all_of_them() -> None:
        await asyncio.gather(*map(one, range(5)))

    with caplog.at_level(logging.WARNING, "django_querybudget"):
        asyncio.run(all_of_them())
    assert caplog.text == ""  # none has more than its own four
    record.flush()
    assert counted()["Async.websocket_receive"] == (10, 20, 0)


def test_an_event_of_the_channel_layer_is_a_message(record: ProcessRecord) -> None:
    async def news(socket: WebsocketCommunicator) -> None:
        layer = get_channel_layer()
        assert layer is not None
        (channel,) = layer.channels
        await layer.send(channel, {"type": "shop.news", "times": 3})
        assert await socket.receive_json_from() == "news"
        await layer.send(channel, {"type": "shop.limited", "times": 1})
        assert await socket.receive_json_from() == "limited"

    with override_settings(
        CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    ):
        talk(Async, news)
    record.flush()
    assert counted()["Async.shop_news"] == (1, 3, 0)
    assert counted()["Async.shop_limited"] == (1, 1, 0)
    series = {key.name: each for key, each in read_picture(3600).whole.series.items()}
    assert series[f"{__name__}.Async.shop_limited"].budget == 1


def test_a_budget_raises_where_the_policy_says_so(settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {f"{HERE}Async.*": 2, "*": 0}, "NPLUSONE": "off"}

    async def much(socket: WebsocketCommunicator) -> None:
        await socket.send_json_to(3)
        await socket.receive_json_from()
        await socket.wait()

    with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2"):
        talk(Async, much)


def test_a_socket_that_is_closed_is_closed_whatever_its_budget(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {f"{HERE}Sync.websocket_disconnect": 1}}
    with caplog.at_level(logging.WARNING, "django_querybudget"):
        talk(Sync, lambda socket: says(socket, 0))
    assert "Sync.websocket_disconnect: 2 queries executed, budget is 1" in caplog.text


def test_nothing_is_measured_where_the_library_is_off(record: ProcessRecord, settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "ENABLED": False}
    talk(Async, lambda socket: says(socket, 3))
    record.flush()
    assert counted() == {}


def kept_alive() -> int:
    gc.collect()
    # By type(): to ask a lazy object for its class is to look into it.
    return sum(type(each) in (QueryLog, Work) for each in gc.get_objects())


def test_a_socket_that_lives_for_hours_stays_flat(record: ProcessRecord) -> None:
    before = kept_alive()
    kept: list[tuple[int, int]] = []

    async def hours(socket: WebsocketCommunicator) -> None:
        for _ in range(2):
            await says(socket, *[2] * 60)
            kept.append((kept_alive() - before, len(hook._recorders.get())))

    talk(Async, hours)
    assert all(logs <= 2 for logs, _ in kept)
    assert [recorders for _, recorders in kept] == [0, 0]
    record.flush()
    assert counted()["Async.websocket_receive"] == (120, 240, 0)
    assert len(counted()) == 3


def test_it_stands_before_the_consumers_class() -> None:
    with pytest.raises(TypeError, match=r"class Late\(MeasuredConsumer, AsyncWebsocketConsumer\)"):
        type("Late", (AsyncWebsocketConsumer, MeasuredConsumer), {})


def test_what_has_no_handler_is_the_consumers_to_tell(record: ProcessRecord) -> None:
    class Bare(MeasuredConsumer, AsyncConsumer):
        pass

    with pytest.raises(ValueError, match=r"No handler for message type shop\.nothing"):
        asyncio.run(Bare().dispatch({"type": "shop.nothing"}))
    with pytest.raises(ValueError, match="no 'type'"):
        asyncio.run(Bare().dispatch({}))
    record.flush()
    assert counted() == {}
