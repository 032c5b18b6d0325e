"""The run before it starts: which stage needs what, what it takes, what tables and figures show."""
