"""The `sdrpn` command: one module for each subcommand. Arguments in, library calls out."""
