"""Data: datastores, datasets and their versions, and how steps take and make them."""
