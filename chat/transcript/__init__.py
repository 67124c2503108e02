"""What a page shows of a conversation."""
