"""Ways to see small print, measured side by side on one machine: `python -m loadtests.compare`."""
