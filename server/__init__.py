"""The API process: HTTP, pictures, the two passes, and the `sdrpn` command."""
