"""Tapeline's files to an estate: topics, schemas, ksqlDB statements, connectors."""
