"""Channels: each message of a consumer, by its handler's name, as work of its own::

    class ChatConsumer(MeasuredConsumer, AsyncJsonWebsocketConsumer): ...

What a handler queries between its begin and its end is ``"message
chat.consumers.ChatConsumer.websocket_receive"``, and ``websocket_connect``,
``websocket_disconnect``, ``chat_message`` for an event ``{"type": "chat.message"}`` of the channel
layer. A socket that lives for hours keeps nothing of the messages before. A message's budget is
that of ``"message chat.consumers.ChatConsumer.*"`` in ``BUDGETS``, or a ``query_budget`` of the
method; where the policy is to raise, the message raises, and so the socket ends, as by any
exception.

Needs the extra ``channels``.
"""

from __future__ import annotations

from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name

from django_querybudget.budgets.by_view import MARK
from django_querybudget.conf import conf
from django_querybudget.work import Work, enforce_work

__all__ = ["MeasuredConsumer"]


class MeasuredConsumer:
    """A mixin for consumers of every kind, sync and async; it stands before the consumer's class.

    Raises ``TypeError`` where it stands after it, and so would never be asked.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        order = cls.__mro__
        if AsyncConsumer in order and order.index(AsyncConsumer) < order.index(MeasuredConsumer):
            first = next(each for each in cls.__bases__ if issubclass(each, AsyncConsumer))
            raise TypeError(
                f"MeasuredConsumer stands after {first.__name__} in {cls.__qualname__}, where it "
                f"measures nothing: write class {cls.__name__}(MeasuredConsumer, "
                f"{first.__name__})."
            )

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand ``message`` to its handler, measured."""
        __tracebackhide__ = True
        handler = getattr(self, get_handler_name(message), None)
        if not conf.ENABLED or handler is None:  # the consumer says what is wrong with it
            await super().dispatch(message)  # type: ignore[misc]  # the consumer's
            return
        name = f"{type(self).__module__}.{type(self).__qualname__}.{get_handler_name(message)}"
        work = Work("message", name, declared=getattr(handler, MARK, None))
        work.begin()
        try:
            await super().dispatch(message)  # type: ignore[misc]  # the consumer's
        except BaseException:  # StopConsumer, too: it ends the socket, and must
            enforce_work(work.end(), in_flight=True)
            raise
        enforce_work(work.end(), in_flight=False)
