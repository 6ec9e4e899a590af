"""The ksql scripts on a server, beside a plain query: `python -m bench.ksqldb`."""
