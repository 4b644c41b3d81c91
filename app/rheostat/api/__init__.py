"""HTTP: routes, errors, settings and the server process. All decisions are made in ``rheostat.service``."""
