"""The embedded stack: real Kafka and a real schema registry as child processes."""
