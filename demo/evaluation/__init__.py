"""Asking an endpoint about pages, and summing up what it answered."""
