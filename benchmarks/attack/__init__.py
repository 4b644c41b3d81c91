"""The server under attack: what it costs an innocent client, and whether anything acknowledged is lost."""
