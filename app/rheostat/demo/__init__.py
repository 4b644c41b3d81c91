"""The demo: a real model, retrained again and again through a real server, on a simulated GPU."""
