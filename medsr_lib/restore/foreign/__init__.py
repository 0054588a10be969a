"""Networks and programs of other people: how each kind of file is loaded, called and probed."""
