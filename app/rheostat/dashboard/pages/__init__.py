"""The pages: each asks the service, and names its template."""
