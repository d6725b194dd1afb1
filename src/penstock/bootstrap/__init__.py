"""The composition root: the only room that names concrete drivers. One file for each thing that is put together."""
