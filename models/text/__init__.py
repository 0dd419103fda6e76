"""The tokens that a model reads beside those of plain texts: of chats, and of its own making."""
