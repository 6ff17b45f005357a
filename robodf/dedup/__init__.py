"""Finding rows that say the same: keys by which they meet, what is compared, and which of them are kept."""
