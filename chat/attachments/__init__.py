"""Files that people and programs attach to messages, and that models return. See docs/attach.md."""
