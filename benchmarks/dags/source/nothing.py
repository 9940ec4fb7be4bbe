"""The no-op step's script."""
