"""Numbers and names everything else is built from; numpy only."""
