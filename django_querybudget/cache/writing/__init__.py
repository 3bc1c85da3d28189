"""What a write changes: statements and calls, as tags to renew."""
