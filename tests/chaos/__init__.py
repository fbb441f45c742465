"""Chaos: generated milestones under random faults, recorded, and judged afterwards by what was recorded alone."""
