"""What breaks around the server, broken for real; after each fault the invariants are checked."""
