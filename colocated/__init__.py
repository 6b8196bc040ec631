"""Any of the services in one process, for small deployments: the same contracts, fewer processes."""
