"""Images in and out: decoding of untrusted files, encoding without metadata, names, object storage."""
