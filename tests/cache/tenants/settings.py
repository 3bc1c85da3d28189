"""Settings of the project with tenants; its servers are named by the environment."""

import os

SECRET_KEY = "tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "NAME": os.environ["TENANTS_NAME"],
        "USER": os.environ["TENANTS_USER"],
        "HOST": os.environ["TENANTS_HOST"],
        "PORT": os.environ["TENANTS_PORT"],
        "PASSWORD": os.environ["TENANTS_PASSWORD"],
    },
}
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
SHARED_APPS = [
    "django_tenants",
    "tests.cache.tenants.shared",
    "django.contrib.contenttypes",
    "django_querybudget",
]
TENANT_APPS = ["tests.cache.tenants.own"]
INSTALLED_APPS = [*SHARED_APPS, *TENANT_APPS]
TENANT_MODEL = "shared.Client"
TENANT_DOMAIN_MODEL = "shared.Domain"
TENANT_LIMIT_SET_CALLS = bool(os.environ.get("TENANTS_LIMIT"))
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware"]
ROOT_URLCONF = "tests.cache.tenants.urls"
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": os.environ["TENANTS_REDIS"],
        "KEY_PREFIX": os.environ["TENANTS_NAME"],
    },
}
# It shares its Redis with no test that would have brought the pulse already.
QUERYBUDGET = {"CACHE": {"RECOVERY_TIME": 0}}
