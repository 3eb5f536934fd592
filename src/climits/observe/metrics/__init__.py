"""Metrics of cgroups and supervised programs, for Prometheus."""
