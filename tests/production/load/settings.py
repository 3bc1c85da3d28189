"""Settings of the marketplace as production serves it, for the servers that ``sites.py`` starts.

The environment names the servers, as the marketplace's own settings say, and ``LOAD_FOLDER``, where
each process leaves what its OpenTelemetry holds.
"""

from marketplace.settings import *  # noqa: F403 - as settings are extended
from marketplace.settings import CACHES, MIDDLEWARE, QUERYBUDGET

ROOT_URLCONF = "tests.production.load.urls"
# Ours stays first: the other one tells the client which worker answered.
MIDDLEWARE = [MIDDLEWARE[0], "tests.production.load.urls.name_worker", *MIDDLEWARE[1:]]
# As docs/how-to/caching.rst says.
CACHES["default"]["OPTIONS"] = {"SOCKET_CONNECT_TIMEOUT": 1, "SOCKET_TIMEOUT": 1}
INTERVAL = 0.5  # seconds
QUERYBUDGET = {
    **QUERYBUDGET,
    # What the test reads is no part of the load.
    "IGNORE_PATHS": ["^/metrics$", "^/querybudget/"],
    "PRODUCTION": {
        "INTERVAL": INTERVAL,
        "EXPORTERS": [
            "tests.production.load.telemetry.NotedPrometheus",
            "tests.production.load.telemetry.KeptOpenTelemetry",
        ],
    },
}
