"""What two states of a workspace differ in, in meaning: pure comparisons, and their texts and page."""
