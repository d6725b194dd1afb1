"""A small bilingual (English, Mandarin) speech synthesiser served over HTTP: the model that Penstock's demo releases.

Everything here is the example's own. A whole version (`--version`) knows nothing of Penstock, as a server that is adopted
does not; where components are served (`--service`), `pipeline` puts them into Penstock's slots. Penstock's core imports
nothing from here.
"""
