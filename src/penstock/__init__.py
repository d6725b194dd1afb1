"""Penstock meters a new AI model into live traffic, judges it, and shuts it off when it is worse.

The rooms and who may import whom: ARCHITECTURE.md. This file may import nothing: `import penstock` costs nothing.
"""
