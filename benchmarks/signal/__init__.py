"""Is no signal called none, and a weak one used?"""
