"""Home: what runs now, what is new, what needs you."""
