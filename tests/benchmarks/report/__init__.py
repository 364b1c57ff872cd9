"""What becomes of the figures: medians, ratios, tables, comparisons, pictures. Pure."""
