"""Drivers that split traffic: one package a proxy. A driver turns route tables into the proxy's words; it decides nothing."""
