"""A build's use of dbt: in this process, or on many workers, each with a share of the layers."""
