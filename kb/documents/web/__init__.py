"""What is read from the web: which addresses may be asked, how, how often, and what came back."""
