"""What was promised in numbers, measured: each bench prints one JSON line on stdout, its progress on stderr."""
