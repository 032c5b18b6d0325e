"""Speed and size against a plain re-creation of the published method, in one table: `make bench`."""
