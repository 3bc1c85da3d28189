"""A file that reads its models from a module gets no import of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_querybudget.nplusone import Cause, Finding, Fix
from django_querybudget.patches.modules import by_modules
from django_querybudget.patches.rendering import patched
from django_querybudget.patches.source_text import SourceText
from django_querybudget.patches.writing import patches_of
from django_querybudget.stacks import Origin

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


def test_a_class_gets_its_queryset_so(tmp_path: Path) -> None:
    path = tmp_path / "shop/views.py"
    path.parent.mkdir()
    path.write_text("from shop import models\n\n\nclass Books:\n    model = models.Book\n")
    code = 'queryset = Book.objects.select_related("author")'
    place = Origin(filename=str(path), line=4, function="Books")
    fix = Fix(
        code=code, place=place, built=True, saves=4, imports=(BOOK,), where="in the class at"
    )  # fmt: skip
    finding = Finding(
        cause=Cause.RELATION, relation="Book.author", operation="get", origin=place, count=4,
        saves=4, fix=fix, use=None, alias="default", fingerprint="",
    )  # fmt: skip
    ((patch, _),) = patches_of([finding], tmp_path).patches.values()
    assert patched(SourceText(path.read_bytes()), patch.edits, 88) == (
        "from shop import models\n\n\nclass Books:\n    model = models.Book\n"
        '    queryset = models.Book.objects.select_related("author")\n'
    )
