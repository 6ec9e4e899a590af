"""The dashboard: a Reflex app over a cache of the newest bars; `python -m webapp`."""
