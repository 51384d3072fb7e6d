"""Placing a blessed model in the folder a model server watches."""
