"""Recorded training runs, replayed under any policy, in process or through a live server."""
