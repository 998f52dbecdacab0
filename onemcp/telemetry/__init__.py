"""Room of onemcp: telemetry."""
