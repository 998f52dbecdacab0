"""Room of onemcp: demo."""
