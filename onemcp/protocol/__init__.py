"""Room of onemcp: protocol."""
