"""Values in, strings out: nothing in here prints."""
