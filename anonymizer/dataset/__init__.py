"""Pictures in and out: finding, decoding, encoding without metadata, the run ledger and its report."""
