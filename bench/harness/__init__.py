"""The load benchmarks: what is started, measured and written. What it is compared with is in ../peers."""
