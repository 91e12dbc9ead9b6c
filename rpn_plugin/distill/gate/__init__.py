"""Training of a learned gate: `sdrpn distill gate`."""
