"""The supervision core in virtual time: events in, effects out, no processes."""
