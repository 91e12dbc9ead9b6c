"""Where the files of a model and its RPN are: a folder on this machine, or a name on the Hub."""
