"""Importers: each turns one kind of data set into the table and the classes of a manifest."""
