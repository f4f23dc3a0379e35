"""What keeps an eye on a run: heartbeat, progress, interrupt, failure, elastic."""
