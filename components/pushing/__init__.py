"""Pushes a blessed model into the folder that a model server watches."""
