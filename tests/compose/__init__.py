"""docker-compose.yaml started for real: Compose 2, a Docker daemon of the tests' own, and the images that it names."""
