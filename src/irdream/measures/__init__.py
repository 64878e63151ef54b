"""Numbers alone: how well a recognizer recognises, how far a dream is from its original."""
