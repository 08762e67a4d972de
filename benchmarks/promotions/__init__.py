"""Racing promotions with kills: is the champion always the best version that passed, and is every act in the log?"""
