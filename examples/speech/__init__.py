"""A small bilingual (English, Mandarin) speech synthesiser served over HTTP: the model that Penstock's demo releases.

Everything here is the example's own: nothing imports Penstock, and Penstock's core imports nothing from here.
"""
