"""Room of onemcp: frontend."""
