"""The tests of milestoned, a package so that they can share `tests.waiting` and `tests.repositories`."""
