"""Adapters: the only place that imports a client library."""
