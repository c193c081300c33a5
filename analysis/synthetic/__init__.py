"""Seeded data with its truth, for every instrument: what tests, demonstrations and notebooks run on."""
