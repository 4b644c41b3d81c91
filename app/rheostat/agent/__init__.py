"""The node agent: applies power limits, measures energy, and puts back every limit that it found."""
