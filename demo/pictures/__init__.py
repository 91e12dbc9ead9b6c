"""What pages are made of: things with codes, questions, sheets, and the views of a page."""
