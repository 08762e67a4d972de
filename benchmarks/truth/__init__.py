"""Do reasons say what the demo's law says?"""
