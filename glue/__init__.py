"""Tapeline: ticks to bins, bars, facts and a live page. Each worker is `python -m glue.<name>`."""
