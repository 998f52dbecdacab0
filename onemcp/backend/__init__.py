"""Room of onemcp: backend."""
