"""The flows that deployments run by the clock: nightly, the weekly verify, the weekly reports."""
