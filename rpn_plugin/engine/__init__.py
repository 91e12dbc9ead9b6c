"""What runs inside vLLM: the tap, the side channel, and the RPN in the worker.

Nothing outside this package imports vLLM on the engine side.
"""
