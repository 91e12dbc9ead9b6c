"""`sdrpn eval`: measures an endpoint on question-answer files."""
