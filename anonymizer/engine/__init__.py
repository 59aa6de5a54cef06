"""Runs an anonymizer over a set of pictures, safely resumable."""
