"""Helpers and callbacks for training frameworks; each module needs the framework that it is named after."""
