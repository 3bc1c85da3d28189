"""The line to write for a loop, and where."""
