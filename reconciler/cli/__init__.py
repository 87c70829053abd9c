"""The command line: ``main`` and a file a command. Prints and exits; decides nothing."""
