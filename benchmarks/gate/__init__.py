"""Does the gate refuse what is bad, for the right reason, and let through what is truly better?"""
