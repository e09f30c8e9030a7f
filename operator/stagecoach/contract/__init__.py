"""What the operator and the images exchange. No Kubernetes in here, and nothing else of the operator in an image."""
