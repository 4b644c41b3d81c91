"""The routes, one module a subject; each reads a request, calls its use case, and answers."""
