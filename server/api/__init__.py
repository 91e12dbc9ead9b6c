"""The HTTP contract: the `roi` request and report, the errors, and how a request can end."""
