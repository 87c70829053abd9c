"""Whether running tasks are well: their checks registered with Consul, or run by our own agent."""
