"""What it costs and how fast it is: each file prints one table. See README.md."""
