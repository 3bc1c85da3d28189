"""A file that reads its models from a module gets no import of them."""

from __future__ import annotations

import pytest

from django_querybudget.patches.modules import by_modules
from django_querybudget.patches.text import SourceText

BOOK = "from shop.models import Book"
COUNT = "from django.db.models import Count"
CODE = 'queryset = Book.objects.filter(title="Book").annotate(n=Count("tags"))'
READ = CODE.replace("Book.", "models.Book.")


@pytest.mark.parametrize(
    ("text", "path", "code", "left"),
    [
        ("from shop import forms, models", "shop/views.py", READ, (COUNT,)),
        ("from . import models", "src/shop/views.py", READ, (COUNT,)),
        ("from .. import models", "shop/api/views.py", READ, (COUNT,)),
        ("import shop.models as models", "shop/views.py", READ, (COUNT,)),
        (
            "from shop import models as m", "shop/views.py",
            READ.replace("models.", "m."), (COUNT,),
        ),
        # What has another meaning somewhere in the file, another module, none.
        (
            "from shop import models\n\ndef view(models):\n    pass", "shop/views.py",
            CODE, (BOOK, COUNT),
        ),
        ("from accounts import models", "shop/views.py", CODE, (BOOK, COUNT)),
        ("from django.db import models", "shop/views.py", CODE, (BOOK, COUNT)),
        ("import shop.models", "shop/views.py", CODE, (BOOK, COUNT)),
    ],
)  # fmt: skip
def test_a_model_is_read_as_the_file_reads_models(
    text: str, path: str, code: str, left: tuple[str, ...]
) -> None:
    found = by_modules(SourceText(f"{text}\n".encode()), path, CODE, (BOOK, COUNT))
    assert found == (code, left)
