"""What makes training fast, and may be left out: compiled steps, precision, threads; each decided by measuring."""
