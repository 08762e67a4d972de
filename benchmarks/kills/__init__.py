"""Does a search that is killed at random moments end as an uninterrupted one?"""
