"""What really starts and stops things on a host: docker containers and plain processes."""
