"""`python -m server.cli` is the `sdrpn` command."""

import sys

from server.cli.main import main

sys.exit(main())
