"""Pure rules: no I/O, no clock, no environment, no sleep. Time is always an argument."""
