"""A project with django-tenants, run in processes of its own: it needs its own database backend."""
