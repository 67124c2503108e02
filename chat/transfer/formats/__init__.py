"""The formats of exports, and how their files are read. No module here knows Django or the database."""
