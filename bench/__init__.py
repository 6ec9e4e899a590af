"""Measurements, each beside a plain version or a limit taken in the same run: `make bench`."""
