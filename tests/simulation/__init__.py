"""Whole supervision trees in virtual time: random histories, an independent witness, replay and shrinking."""
