class Unwanted(Exception):
    """The application changed its mind in the middle of a transaction."""
