"""The whole pipeline on this machine, with a live table of bars: `make demo`."""
