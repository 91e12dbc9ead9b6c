"""From the cells of a comparison to its report: token counts, limits, ratios, table and chart."""
