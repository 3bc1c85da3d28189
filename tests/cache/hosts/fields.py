"""Fields that convert: between the database and Python, or where a value is set."""

from __future__ import annotations

import enum
import secrets
from typing import Any

from django.db import models
from django.db.models.lookups import Exact, In


class Reversed:
    """A descriptor that keeps what is set in another form, as those of encrypted fields do."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.name] = value[::-1]


class SecretField(models.CharField):  # type: ignore[type-arg]
    """Lies reversed in the database, and is turned where it is set."""

    def contribute_to_class(self, cls: Any, name: str, private_only: bool = False) -> None:
        super().contribute_to_class(cls, name, private_only)
        setattr(cls, self.attname, Reversed(self.attname))

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        return getattr(model_instance, self.attname)[::-1]


class HashedKey(models.AutoField):  # type: ignore[type-arg]
    """``"h7"`` in Python, 7 in the database: converted with no connection at hand."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else f"h{value}"

    def to_python(self, value: Any) -> Any:
        return value

    def get_prep_value(self, value: Any) -> Any:
        return int(value[1:]) if isinstance(value, str) else value


class NegatedKey(models.IntegerField):  # type: ignore[type-arg]
    """7 in Python, -7 in the database: converted for the database alone."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else -value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return None if value is None else -value


class SealedKey(models.IntegerField):  # type: ignore[type-arg]
    """Encrypted with a nonce: 7 is another number in the database each time, and found as 7."""

    NONCES = 1000

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value // self.NONCES

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        value = super().get_db_prep_value(value, connection, prepared)
        return None if value is None else value * self.NONCES + secrets.randbelow(self.NONCES)


class Unsealed:
    """A lookup that decrypts what is in the column."""

    lhs: Any
    get_db_prep_lookup_value_is_iterable: bool

    def process_lhs(self, compiler: Any, connection: Any, lhs: Any = None) -> Any:
        sql, params = super().process_lhs(compiler, connection, lhs)  # type: ignore[misc]
        divided = "DIV" if connection.vendor == "mysql" else "/"
        return f"({sql} {divided} {SealedKey.NONCES})", params

    def get_db_prep_lookup(self, value: Any, connection: Any) -> Any:
        return "%s", list(value) if self.get_db_prep_lookup_value_is_iterable else [value]


@SealedKey.register_lookup
class UnsealedExact(Unsealed, Exact):  # type: ignore[misc,type-arg]
    pass


@SealedKey.register_lookup
class UnsealedIn(Unsealed, In):  # type: ignore[misc,type-arg]
    pass


class SealedText(models.CharField):  # type: ignore[type-arg]
    """Encrypted with a nonce, and never looked for."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else value.partition("$")[2][::-1]

    def get_prep_value(self, value: Any) -> Any:
        value = super().get_prep_value(value)
        return None if value is None else f"{secrets.token_hex(4)}${value[::-1]}"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Grade(enum.Enum):
    """No number, and the same in no database."""

    GOOD = 1
    POOR = 2


class GradeKey(models.IntegerField):  # type: ignore[type-arg]
    """A member of an enum in Python, its value in the database."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Grade(value)

    def to_python(self, value: Any) -> Any:
        return value if value is None or isinstance(value, Grade) else Grade(int(value))

    def get_prep_value(self, value: Any) -> Any:
        return value.value if isinstance(value, Grade) else super().get_prep_value(value)
