"""Room of onemcp: cli."""
