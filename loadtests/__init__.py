"""Traffic for a running endpoint: scenarios, their reports and thresholds, a soak, a rollout."""
