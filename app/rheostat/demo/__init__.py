"""The demo: a real model, retrained through a real server, on a simulated GPU."""
