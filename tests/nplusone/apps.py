"""The corpus' models, as an app of the test settings."""

from django.apps import AppConfig


class CorpusConfig(AppConfig):
    name = "tests.nplusone"
    label = "corpus"
    default_auto_field = "django.db.models.BigAutoField"
