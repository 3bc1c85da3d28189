"""A project with faults planted in its indexes, for the audit and the advisor to find.

``PLANTED_DATABASE`` is the JSON of one entry of ``DATABASES``; ``PLANTED_CURED`` declares the
indexes that the advisor advises.
"""

import json
import os

SECRET_KEY = "planted"
INSTALLED_APPS = ["django_querybudget", "tests.indexes.planted.shop"]
DATABASES = {
    "default": json.loads(os.environ["PLANTED_DATABASE"]),
    **json.loads(os.environ.get("PLANTED_MORE_DATABASES", "{}")),
}
if any(entry["ENGINE"].endswith("mysql") for entry in DATABASES.values()):
    import pymysql

    pymysql.install_as_MySQLdb()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.indexes.planted.urls"
USE_TZ = True
QUERYBUDGET = json.loads(os.environ.get("PLANTED_QUERYBUDGET", "{}"))
TEST_RUNNER = os.environ.get("PLANTED_TEST_RUNNER", "django.test.runner.DiscoverRunner")
