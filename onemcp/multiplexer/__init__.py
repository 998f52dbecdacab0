"""Room of onemcp: multiplexer."""
