"""Partner API authentication for the HTTP client that you already use."""
