"""What owns and watches processes: specs, the pure core, the fork server, the task runner, the journal.

Imports point one way, `supervisor -> actors`, and inside this package from the shell to the core to the
vocabulary; a test walks them and enforces it. Importing this package starts nothing and loads nothing heavy.
"""
