"""How near do scores come to the chances that the demo's law gives?"""
