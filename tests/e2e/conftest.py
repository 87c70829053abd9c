"""End-to-end tests run the program as users do, on a Consul of their own; nothing in them calls our code."""
