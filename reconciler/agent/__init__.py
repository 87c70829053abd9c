"""The third loop: makes what runs on this host equal to what was issued to it."""
