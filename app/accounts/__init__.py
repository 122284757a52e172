"""Accounts: people, magic links, sessions, roles, API keys, usage meters."""
