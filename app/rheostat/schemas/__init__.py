"""The wire: the bodies that pass between the parts, shared by both ends."""
