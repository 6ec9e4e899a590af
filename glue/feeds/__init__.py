"""Tick sources of the mock API: files, a synthetic market, and what disturbs them."""
