"""From marts to statistics, verdict, figures and the report."""
