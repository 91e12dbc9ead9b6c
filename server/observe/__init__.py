"""What operators see of requests: metrics, traces, log lines, ids, and the report header."""
