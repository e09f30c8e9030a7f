"""The gateway: it asks engines for clients, by a deployment's signed routes, and counts by release."""
