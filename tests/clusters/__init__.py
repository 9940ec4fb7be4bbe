"""Real clusters for tests, started when the first test asks for them."""
