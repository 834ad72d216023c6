"""The relay's rules, without I/O: streams, engagements, devices, key packages, retention, limits."""
