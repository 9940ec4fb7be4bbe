"""One file per benchmark. Each has ``TITLE``, ``FIGURES``, and ``rounds(bench)``, which yields one sample per round."""
