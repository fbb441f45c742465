"""Limits, samples, the conformance rows of operating-system processes, and kill storms."""
