"""One importer a kind of data set: from its own layout to a manifest's table and classes."""
