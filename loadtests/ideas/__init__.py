"""Ideas for more speed, each beside what it would replace: `python -m loadtests.ideas`."""
