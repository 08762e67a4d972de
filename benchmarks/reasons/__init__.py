"""What do reasons cost beside XGBoost's bare contributions of the same trees?"""
