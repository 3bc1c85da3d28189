"""Configuration of the documentation."""

import django
from django.conf import settings

settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django_querybudget"])
django.setup()  # autodoc imports modules that read settings

import django_querybudget  # noqa: E402

project = "django-querybudget"
author = "the django-querybudget contributors"
copyright = f"2026, {author}"
version = release = django_querybudget.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
html_theme = "furo"
html_static_path = ["_static"]
html_title = f"django-querybudget {release}"
