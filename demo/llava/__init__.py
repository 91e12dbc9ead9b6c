"""A small model of LLaVA-1.5's architecture, made with the help of the one that ships."""
