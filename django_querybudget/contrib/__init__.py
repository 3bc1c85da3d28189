"""One module for each host that the library plugs into."""
