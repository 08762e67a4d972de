"""What a person asks for beside a run: the stages' own code put together in other ways."""
