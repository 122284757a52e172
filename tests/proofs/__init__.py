"""Proofs at full size, too long for every test run: `make proofs`. Their small versions run with the tests."""
