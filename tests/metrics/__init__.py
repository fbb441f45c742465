"""Figures for Prometheus: the socket."""
