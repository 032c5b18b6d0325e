"""Write masks in the formats of annotation tools and data sets. `registry` has the list."""
