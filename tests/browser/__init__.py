"""The browser's SDK in a real Chromium, with the real relay and the Python SDK (`make browser` builds it)."""
