"""Carry a plan out, and remember what the service confirmed."""
