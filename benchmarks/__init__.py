"""Speed and size against a plain re-creation of the published way, in one table: `make bench`."""
