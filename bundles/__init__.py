"""What training hands to serving: immutable, checksummed directories behind one pointer. Imports nothing of ours."""
