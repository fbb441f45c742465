"""Tests of the pure domain logic, in virtual time."""
