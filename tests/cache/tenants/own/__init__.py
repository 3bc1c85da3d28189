"""The app in the schema of each tenant."""
