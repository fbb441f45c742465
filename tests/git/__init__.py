"""Tests of the git plumbing, on real repositories."""
