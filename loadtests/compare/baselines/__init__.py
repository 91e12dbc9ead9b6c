"""Methods that sdrpn is compared with, run in the same engine as a vLLM plugin of their own."""
