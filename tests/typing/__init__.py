"""What users write, for mypy and pyright to read; nobody runs it."""
