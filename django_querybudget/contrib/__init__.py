"""One module per host: what a framework or a tool needs to work with this library."""
