"""Milestone files: reading, refusing, editing and comparing them."""
