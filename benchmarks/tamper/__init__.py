"""Tampering: is a model that somebody changed refused before anything in it is parsed or run?"""
