"""What runs inside a role process, and what every process must agree on.

Owns the vocabulary of events and messages, framing, the fold, the roles and their domain (milestone files,
plan, git, progress, blocker rules). Refuses to know who supervises it: nothing here imports `supervisor`.
"""
