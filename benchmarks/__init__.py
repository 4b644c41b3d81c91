"""Measurements that are run by hand: how good the decisions are."""
