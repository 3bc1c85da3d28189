"""What a server answers is read as it was written, however it comes and whatever stands in it."""

from __future__ import annotations

import socket
from itertools import product
from threading import Thread

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from django_querybudget.cache.stores.resp import read_answer

pytestmark = pytest.mark.once

STRINGS = (None, b"", b"token", b"\r\n", b"a\r\n", b"\r\nb", b"$-1\r\n", b"$1\r\na\r\n", b"*1\r\n")


def written(values: tuple[bytes | None, ...]) -> bytes:
    strings = [b"$-1\r\n" if v is None else b"$%d\r\n%b\r\n" % (len(v), v) for v in values]
    return b"*%d\r\n%b" % (len(values), b"".join(strings))


def read(answer: bytes, *, by: int) -> object:
    """Read what a server sends in pieces of so many bytes, and then closes the connection."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)

    def serve() -> None:
        for start in range(0, len(answer), by):
            theirs.sendall(answer[start : start + by])
        theirs.close()

    server = Thread(target=serve)
    server.start()
    try:
        return read_answer(ours)
    finally:
        server.join()
        ours.close()


@pytest.mark.parametrize("length", [1, 2, 3])
def test_strings_are_read_as_they_were_written(length: int) -> None:
    for values in product(STRINGS, repeat=length):
        assert read(written(values), by=1 << 20) == list(values)


def test_strings_that_come_in_pieces_are_read_as_they_were_written() -> None:
    for values in [*product(STRINGS, repeat=3)][::12]:
        for by in (1, 3, 7):
            assert read(written(values), by=by) == list(values)


def test_an_answer_longer_than_what_comes_at_once_is_read_whole() -> None:
    values = (b"token", b"x" * 300_000, None, b"y" * 300_000)
    assert read(written(values), by=1 << 20) == list(values)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"*",
        b"*2\r\n$1\r\na\r\n",
        b"*2\r\n$1\r\na\r\n$2\r\nb\r\n",
        b"*1\r\n$1\r\nab\r\n",
        b"*1\r\n$1\r\na\r\n+OK\r\n",
        b"*1\r\n$1\r\na\r\n\r\n",
        b"*x\r\n$1\r\na\r\n",
        b"*1\r\n$x\r\na\r\n",
        b"*1\r\na\r\n",
    ],
)
def test_what_is_not_one_answer_is_an_error(answer: bytes) -> None:
    with pytest.raises(RedisConnectionError):
        read(answer, by=1 << 20)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"*0\r\n", []),
        (b":7\r\n", 7),
        (b"$1\r\na\r\n", b"a"),
        (b"*2\r\n:1\r\n*1\r\n:2\r\n", [1, [2]]),
    ],
)
def test_any_other_answer_is_read(answer: bytes, expected: object) -> None:
    assert read(answer, by=1 << 20) == expected
