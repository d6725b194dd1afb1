"""The control plane: use cases (release, pause, promote, roll back ...) and the loop that makes things so.

Talks to ports alone; which driver is behind one is the composition root's business.
"""
