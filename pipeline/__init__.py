"""Lead scoring: which leads should sales call first, how sure are we, and why?"""
