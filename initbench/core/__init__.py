"""What everything stands on: names, randomness, records, errors. No torch, no files."""
