"""vLLM's model classes with a tap, and the checkpoint layouts they read."""
