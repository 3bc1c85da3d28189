"""A project with faults planted in its indexes, for the audit and the advisor to find.

``PLANTED_DATABASE`` is the JSON of one entry of ``DATABASES``; ``PLANTED_CURED`` declares the
indexes that the advisor advises.
"""

import json
import os

SECRET_KEY = "planted"
INSTALLED_APPS = ["django_querybudget", "tests.indexes.planted.shop"]
DATABASES = {"default": json.loads(os.environ["PLANTED_DATABASE"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.indexes.planted.urls"
USE_TZ = True
QUERYBUDGET = json.loads(os.environ.get("PLANTED_QUERYBUDGET", "{}"))
