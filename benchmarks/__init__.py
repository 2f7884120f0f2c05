"""Speed, beside a named rival in the same run. `python -m benchmarks` prints the figures and writes them as JSON."""
