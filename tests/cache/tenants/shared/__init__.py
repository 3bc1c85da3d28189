"""The app in the public schema: tenants, and a table that all of them share."""
