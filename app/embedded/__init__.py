"""What `throughline up` starts when nothing else is configured: PostgreSQL, Redis, sandbox models."""
