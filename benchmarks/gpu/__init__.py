"""`make check-gpu`: what NVML does on this machine's GPU, and whether Rheostat measures it as it should."""
