"""The supervision library, with real processes: as a program of its user's would use it."""
