"""Pictures, films and pages of heat and motion over frames; RGB throughout."""
