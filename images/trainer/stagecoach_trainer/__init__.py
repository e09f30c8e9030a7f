"""The trainer: resolves data and base models, trains adapters, publishes artifacts and records."""
