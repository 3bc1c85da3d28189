from django.apps import AppConfig


class HostsConfig(AppConfig):
    name = "tests.cache.hosts"
    label = "hosts"
    default_auto_field = "django.db.models.BigAutoField"
