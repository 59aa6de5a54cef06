"""Runs: an anonymizer over a set of pictures, safely resumable; ledger, report and audit of what it released."""
