"""The pages for people, and what makes the manual pages among them."""
