"""How well a recognizer recognises, what a dream changed, and the tables and figures of both."""
