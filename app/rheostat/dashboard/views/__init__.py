"""What each page shows, as plain values: pure functions of what the service answered."""
