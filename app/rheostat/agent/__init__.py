"""The node agent: applies power limits, measures energy, and restores every limit that it found."""
