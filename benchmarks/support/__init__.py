"""What the benchmarks share: figures, their table, and the surroundings in which they are measured."""
