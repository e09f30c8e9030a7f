"""The chart's Grafana dashboards, in the types that Grafana publishes of its schema."""
