"""ModelDeployment: what is served, by which engines and gateways, and what takes over next."""
