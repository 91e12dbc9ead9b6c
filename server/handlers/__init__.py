"""The two passes in front of vLLM's handlers: one module for each route that takes pictures."""
