"""Scale on paper: what a request costs, how many replicas; and a simulation that checks it."""
