"""RESP, read by hand: from a real socket, whose bytes come in steps as a network may bring them."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from django_querybudget.cache.stores.resp import bulk_strings, packed, read_answer

pytestmark = pytest.mark.once


class Stepping(socket.socket):
    """Gives at most so many bytes at once; is not asked without end where there are no more."""

    step = 1 << 20
    ends = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        part = super().recv(min(size, self.step), flags)
        self.ends += not part
        assert self.ends < 3
        return part


@pytest.fixture
def said() -> Iterator[Callable[..., Stepping]]:
    """Makes a socket on whose other end these bytes were said, and then the connection closed."""
    made: list[socket.socket] = []

    def said(text: bytes, step: int = 1 << 20) -> Stepping:
        one, other = socket.socketpair()
        other.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        other.settimeout(5)
        here = Stepping(fileno=one.detach())
        here.step = step
        made.append(here)
        other.sendall(text)
        other.close()
        return here

    yield said
    for each in made:
        each.close()


def test_what_is_packed() -> None:
    assert packed(b"GET", b"\r\n") == b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n"
    assert bulk_strings(b"", b"ab") == b"$0\r\n\r\n$2\r\nab\r\n"


@pytest.mark.parametrize("step", [1, 2, 3, 5, 8, 1 << 20])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b"$5\r\nentry\r\n", b"entry"),
        (b"$1\r\na\r\n", b"a"),
        (b"$0\r\n\r\n", b""),
        (b"$-1\r\n", None),
        (b"$4\r\n\r\n\r\n\r\n", b"\r\n\r\n"),
        (b":12\r\n", 12),
        (b":-1\r\n", -1),
        (b"+OK\r\n", b"OK"),
        (b"+12\r\n", b"12"),
        (b"*0\r\n", []),
        (b"*3\r\n$1\r\na\r\n$-1\r\n$2\r\nbc\r\n", [b"a", None, b"bc"]),
        (b"*2\r\n$-1\r\n$-1\r\n", [None, None]),
        (b"*4\r\n:7\r\n$9\r\na long on\r\n$1\r\n-\r\n$0\r\n\r\n", [7, b"a long on", b"-", b""]),
        (b"*2\r\n*1\r\n$2\r\n\r\n\r\n+b\r\n", [[b"\r\n"], b"b"]),
    ],
)
def test_what_is_read_however_it_comes(
    said: Callable[..., Any], text: bytes, answer: object, step: int
) -> None:
    assert read_answer(said(text, step)) == answer


def test_a_long_one_is_read_to_its_end(said: Callable[..., Any]) -> None:
    value = bytes(range(256)) * 300
    text = b"%b%b" % (b"*2\r\n", bulk_strings(value, b"last"))
    assert read_answer(said(text)) == [value, b"last"]
    assert read_answer(said(bulk_strings(value), 1000)) == value


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b"-NOSCRIPT No matching script.\r\n", NoScriptError, "NOSCRIPT No matching script."),
        (b"-OOM no more \xff\r\n", ResponseError, "OOM no more \ufffd"),
    ],
)
def test_a_refusal_is_raised(
    said: Callable[..., Any], text: bytes, kind: type, message: str
) -> None:
    with pytest.raises(ResponseError) as found:
        read_answer(said(text))
    assert (type(found.value), str(found.value)) == (kind, message)


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "has closed"),
        (b"$5\r\nent", "has closed"),
        (b"*2\r\n$1\r\na\r\n", "has closed"),
        (b"HTTP/1.1 400 Bad Request\r\n", "not RESP"),
        (b"\r\n", "not RESP"),
        (b"$five\r\n", "not RESP"),
    ],
)
def test_what_is_no_answer_is_a_failed_connection(
    said: Callable[..., Any], text: bytes, message: str, step: int
) -> None:
    with pytest.raises(RedisConnectionError, match=message):
        read_answer(said(text, step))


def test_more_than_one_answer_is_a_failed_connection(said: Callable[..., Any]) -> None:
    with pytest.raises(RedisConnectionError, match="more than one"):
        read_answer(said(b"+OK\r\n+OK\r\n"))


def test_a_socket_that_fails_is_a_failed_connection(said: Callable[..., Any]) -> None:
    closed = said(b"+OK\r\n")
    closed.close()
    with pytest.raises(RedisConnectionError, match="Bad file descriptor"):
        read_answer(closed)


def test_a_silent_server_is_one_that_does_not_answer_in_time() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.settimeout(0.01)
        with pytest.raises(RedisTimeoutError, match="in time"):
            read_answer(one)


def test_answers_to_what_was_sent_before_are_read_first(said: Callable[..., Any]) -> None:
    refused: list[str] = []
    text = b"-OOM one\r\n+OK\r\n-OOM two\r\n$4\r\nmine\r\n"
    assert read_answer(said(text), 3, lambda error: refused.append(str(error))) == b"mine"
    assert refused == ["OOM one", "OOM two"]
    assert read_answer(said(text), 3) == b"mine"
