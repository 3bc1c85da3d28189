"""The parts of a store: its pulse, what is owed to a server that fails, scripts and answers."""
