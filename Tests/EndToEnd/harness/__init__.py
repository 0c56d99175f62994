"""What the end-to-end tests use to run the real server and to talk to it as its clients do."""
