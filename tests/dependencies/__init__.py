"""Tests of the dependency validator: pre-flight and alerts."""
