"""Many MCP servers as one."""
