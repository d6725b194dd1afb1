"""Drivers that keep the files of model versions: folders, buckets, and the cache of a node.

`store.py` has the laws of ports/artifacts.py, over a shelf: a flat place for objects by key. A shelf is a folder
(`folder.py`) or whatever obstore reaches (`bucket.py`); `places.py` chooses one by its URL.
"""
