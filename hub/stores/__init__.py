"""Time series stores that drain the journal."""
