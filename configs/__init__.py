"""The commented defaults, shipped inside the wheel as `supervisor.configs`.

Owns no code: read the files with `importlib.resources.files("supervisor.configs")`.
"""
