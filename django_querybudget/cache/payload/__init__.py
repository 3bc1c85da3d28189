"""What an entry holds: instances and values as plain data, and back."""
