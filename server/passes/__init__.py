"""Pass 1, pass 2 and what lies between them; the handlers await these."""
